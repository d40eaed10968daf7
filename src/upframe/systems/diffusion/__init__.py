"""What several diffusion systems share: autoencoder, latents, pinned components."""
