"""Decisions before and between frames: pure functions and frozen dataclasses."""
