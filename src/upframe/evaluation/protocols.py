"""What each protocol does, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from upframe.errors import UsageError


@dataclass(frozen=True)
class Protocol:
    """How pictures are degraded, compared and averaged."""

    name: str
    channel: str
    """``y``: BT.601 studio range; ``rgb``: all three together."""
    crop_by_scale: bool
    """Whether a border as wide as the scale is left out; else nothing is."""
    single: bool
    """The data folder holds pictures, each for itself, not clips."""
    middle: bool
    """Only the middle frame of each clip is scored."""
    clips: tuple[str, ...] = ()
    """The clips that count; empty for all that are there."""

    def crop(self, scale: int) -> int:
        """Pixels of the border that are left out on each side."""
        return scale if self.crop_by_scale else 0

    def describe(self, scale: int) -> str:
        """One sentence with everything that decides a score."""
        channel = "Y of BT.601 (16..235)" if self.channel == "y" else "RGB"
        unit = "images" if self.single else "frames of a clip, then over clips"
        which = "the middle frame of each clip; mean over clips"
        mean = which if self.middle else f"mean over {unit}"
        return (
            f"{self.name}: MATLAB bicubic x{scale} where no lq is given, "
            f"input and output rounded to 8 bits, {channel}, "
            f"crop {self.crop(scale)}, {mean}"
        )


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        p.name: p
        for p in (
            Protocol("sisr", "y", crop_by_scale=True, single=True, middle=False),
            Protocol("vid4", "y", crop_by_scale=False, single=False, middle=False),
            Protocol(
                "reds4",
                "rgb",
                crop_by_scale=False,
                single=False,
                middle=False,
                clips=("000", "011", "015", "020"),
            ),
            Protocol("vimeo90k", "y", crop_by_scale=False, single=False, middle=True),
        )
    }
)
"""Protocols by name, as published tables are computed."""


def find_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UsageError: if there is none of this name.
    """
    if name not in PROTOCOLS:
        raise UsageError(
            f"There is no protocol {name!r} in this version.",
            f"Use one of: {', '.join(PROTOCOLS)}.",
        )
    return PROTOCOLS[name]
