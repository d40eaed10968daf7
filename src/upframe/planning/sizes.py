"""Sizes and times as people write them, and the size of the output frame."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import NamedTuple

from upframe.errors import UsageError


class TargetSize(NamedTuple):
    """The output frame."""

    width: int
    height: int
    sar: Fraction
    """Sample aspect ratio to write: width over height of one pixel on the screen."""


def resolve_size(
    width: int,
    height: int,
    sar: Fraction,
    model_scale: int,
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    height_only: int | None = None,
) -> TargetSize:
    """The output size from the input size and at most one wish.

    - no wish: exactly ``model_scale`` times the input;
    - ``scale``: any factor, each axis rounded half up, at least 1 pixel;
    - ``size``: exactly that width and height; the sample aspect ratio changes so that
      the frame keeps its shape on the screen;
    - ``height_only``: exactly that height; the width keeps the aspect of the stored
      frame, rounded to the nearest even number (half up), at least 2.

    Except for ``size`` the sample aspect ratio passes through unchanged.

    Args:
        width: stored input width in pixels.
        height: stored input height in pixels.
        sar: sample aspect ratio of the input; 1 for square pixels.
        model_scale: factor of the network.
        scale: wished factor.
        size: wished (width, height) in pixels.
        height_only: wished height in pixels.

    Raises:
        UsageError: two wishes at once, or one that is not positive and finite.
    """
    wishes = {"--scale": scale, "--size": size, "--height": height_only}
    named = [name for name, wish in wishes.items() if wish is not None]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} contradict each other.", "Give only one of them."
        )
    if scale is not None:
        if not (math.isfinite(scale) and scale > 0):
            raise UsageError(f"--scale {scale} is no scale.", "Give a number above 0.")
        # through text, so that 1.1 means 11/10 and not the nearest binary number
        factor = Fraction(str(scale))
        return TargetSize(
            max(1, _half_up(width * factor)), max(1, _half_up(height * factor)), sar
        )
    if min(size or (1, 1)) < 1 or (height_only is not None and height_only < 1):
        raise UsageError(
            f"{named[0]} {size or height_only} has no pixels.", "Give at least 1."
        )
    if size is not None:
        kept = sar * Fraction(width * size[1], height * size[0])
        return TargetSize(size[0], size[1], kept)
    if height_only is not None:
        pairs = _half_up(Fraction(width * height_only, height * 2))
        return TargetSize(max(2, 2 * pairs), height_only, sar)
    return TargetSize(width * model_scale, height * model_scale, sar)


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def parse_wh(text: str) -> tuple[int, int]:
    """Width and height in pixels from ``1280x720``.

    Raises:
        UsageError: the text is of another form, or a side is 0.
    """
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})\s*", text)
    if match is not None:
        width, height = int(match[1]), int(match[2])
        if width > 0 and height > 0:
            return width, height
    raise UsageError(
        f"'{text}' is no frame size.", "Write width x height, as in 1280x720."
    )


def parse_time(text: str) -> Fraction:
    """Seconds from ``90``, ``90.5``, ``1:30`` or ``00:01:30.5``, exactly.

    With colons, minutes and seconds are below 60; the leading part may be any number.

    Raises:
        UsageError: the text is of another form.
    """
    match = re.fullmatch(
        r"\s*(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+(?:\.[0-9]+)?)\s*", text, re.ASCII
    )
    if match is not None:
        hours, minutes = match[1], match[2]
        seconds = Fraction(match[3])
        if (minutes is None or seconds < 60) and (hours is None or int(minutes) < 60):
            return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
    raise UsageError(
        f"'{text}' is no time.", "Write seconds or hh:mm:ss, as in 90 or 00:01:30.5."
    )
