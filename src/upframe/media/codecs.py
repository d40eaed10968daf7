"""Names of codecs; needs no PyAV."""

from __future__ import annotations

from typing import Literal

Codec = Literal["libx264", "libx265", "mpeg4"]
"""Encoders that degradations use, by FFmpeg's names."""
