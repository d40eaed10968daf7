"""Layers and image operations that two or more systems share.

Importing this package imports no torch: :mod:`upframe.nn.resize` is plain NumPy and
belongs to the core.
"""
