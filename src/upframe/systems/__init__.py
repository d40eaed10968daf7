"""The published systems, one file each, as plain torch modules."""
