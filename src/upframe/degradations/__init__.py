"""From high-resolution pictures to the low-resolution input of a protocol."""
