"""Frames, and what all sources have in common: files, folders and pipes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from upframe.media.colour import Colour, Pixels
from upframe.media.position import Position


@dataclass(frozen=True)
class Frame:
    """One decoded frame with its place in time."""

    pixels: Pixels
    """(H, W, 3 or 4) RGB(A), uint8 or uint16."""
    pts: int
    """Presentation time in units of the source's time base; strictly rising."""
    duration: int
    """In the same units; 0 when the file does not say."""
    name: str = ""
    """File name without suffix, for images of a folder."""
    position: Position | None = field(default=None, compare=False, repr=False)
    """Where decoding stands behind this frame; None where a source cannot seek."""


@dataclass(frozen=True)
class Hdr:
    """Static HDR metadata, in the units that encoders take."""

    mastering: str = ""
    """``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`` as x265 takes it; may be empty."""
    light: str = ""
    """``MaxCLL,MaxFALL`` in candela per square metre; may be empty."""


@dataclass(frozen=True)
class SourceInfo:
    """The facts a plan and an encoder need, colour tags resolved."""

    name: str
    width: int
    height: int
    depth: int
    """Bits per sample of the source; above 8, frames are uint16."""
    alpha: bool
    sar: Fraction
    rate: Fraction
    time_base: Fraction
    frames: int
    """Estimate; 0 when unknown (pipes)."""
    colour: Colour
    pix_fmt: str = "rgb24"
    codec: str = ""
    interlaced: bool = False
    """Whether the frames are being deinterlaced."""
    display_matrix: tuple[int, ...] | None = None
    """Nine values of the display matrix (rotation, flips), 16.16 and 2.30 fixed."""
    hdr: Hdr = field(default_factory=Hdr)
    companions: tuple[str, ...] = ()
    """Types of the streams beside the video: ``audio``, ``subtitle``, ..."""
    still: bool = False
    """The source is an image, or a folder or pattern of images."""


class Source(Protocol):
    """Decoded frames in presentation order."""

    info: SourceInfo
    warnings: list[str]
    """Filled while reading; complete after the last frame."""
    seek_refused: str
    """Why all frames before the place of `begin_at` had to be decoded; empty if not."""

    def __iter__(self) -> Iterator[Frame]:
        """Decode; raises InputError where nothing more can be read."""
        ...

    def begin_at(self, position: Position | None, stop: int | None = None) -> None:
        """Let the next iteration begin behind a position and end before a frame.

        Args:
            position: as an earlier reading recorded it in `Frame.position`; None for
                the first frame.
            stop: number of the frame before which to end; None for all.
        """
        ...

    def close(self) -> None:
        """Release files; may be called twice."""
        ...
