"""Images and pairs for training and evaluation; arrays only, no torch."""
