"""Names of codecs and of choices about them; needs no PyAV."""

from __future__ import annotations

from typing import Literal

Codec = Literal["libx264", "libx265", "libvpx-vp9", "mpeg2video", "mpeg4"]
"""Encoders that degradations use, by FFmpeg's names."""

Audio = Literal["keep", "recode", "drop"]
"""What becomes of sound: ``keep`` copies it where the container can hold it and recodes
it elsewhere, ``recode`` always recodes it, ``drop`` leaves it out."""
AUDIO: tuple[Audio, ...] = ("keep", "recode", "drop")
