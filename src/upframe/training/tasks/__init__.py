"""What diffusion systems learn in their stages, one module per system."""
