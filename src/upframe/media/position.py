"""A place between two frames of a decoded file, and all that decoding on from it needs.

Straight decoding carries a little state from frame to frame: the last timestamp, and
the counts that become warnings. A :class:`Position` holds that state after one frame,
so that a source opened there yields the same frames, timestamps and warnings.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from upframe.media.colour import Pixels


@dataclass(frozen=True)
class Position:
    """The state of decoding after frame ``frame - 1``; the next frame is ``frame``."""

    frame: int
    """Frames yielded so far, counted from the first one that was asked for."""
    decoded: int
    """Frames that the decoder has given so far, those before ``--start`` included."""
    first: int
    """Timestamp of the first decoded frame, in the source's time base."""
    last: int
    """Timestamp of the last frame, after repair."""
    raw: int | None
    """The same as the file has it; None where the file has none."""
    missing: int = 0
    """Timestamps so far that were missing."""
    moved: int = 0
    """Timestamps so far that did not rise."""
    resized: int = 0
    """Frames so far that were scaled to the size of the first."""
    damaged: int = 0
    """Errors of the decoder so far."""
    marred: int = 0
    """Frames so far that were decoded with errors."""
    intact: int = 0
    """Frames since the last error or damaged frame; all, if there was none."""
    check: int | None = None
    """:func:`checksum` of the last frame; None unknown."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return asdict(self)


def checksum(pixels: Pixels) -> int:
    """CRC-32 of the pixels of a frame: tells a frame from its neighbours."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)
