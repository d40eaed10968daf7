"""From high-resolution images to the low-resolution input of a protocol."""
