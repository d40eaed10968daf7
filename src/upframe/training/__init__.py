"""Training from a recipe; needs the extra ``train``."""
