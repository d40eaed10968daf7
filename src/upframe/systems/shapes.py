"""Sizes of a network from the names and shapes of its state dict, without torch."""

from __future__ import annotations

import math
import re

from upframe.errors import WeightsError
from upframe.systems.spec import Shapes

_LARGEST_SCALE = 16


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbered parts there are right below a prefix.

    Distinct numbers are counted, so that one absurd number makes no absurd network.
    """
    pattern = re.compile(re.escape(prefix) + r"([0-9]+)\.", re.ASCII)
    return len({match[1] for key in shapes if (match := pattern.match(key))})


def side(shapes: Shapes, key: str, axis: int) -> int:
    """One side of one tensor, at least 1.

    Raises:
        WeightsError: the tensor is missing, or has no such side.
    """
    shape = shapes.get(key)
    if shape is None:
        raise WeightsError(f"The tensor {key!r} is missing.", "Is the file complete?")
    if len(shape) <= axis or shape[axis] < 1:
        raise WeightsError(f"The tensor {key!r} has the impossible shape {shape}.")
    return shape[axis]


def expansion(width: int, hidden: int) -> float:
    """The ratio for which ``int(width * ratio)`` is ``hidden``."""
    ratio = hidden / width
    # the quotient may be rounded down, and int would cut it
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def shuffle_scale(shapes: Shapes, key: str) -> int:
    """Factor of a pixel shuffle from the shape of the convolution before it.

    Raises:
        WeightsError: the channels are not 3 times a square.
    """
    channels = side(shapes, key, 0)
    scale = math.isqrt(channels // 3)
    if 3 * scale**2 != channels or not 1 <= scale <= _LARGEST_SCALE:
        raise WeightsError(
            f"The tensor {key!r} makes {channels} channels, which are no RGB image of "
            "any scale."
        )
    return scale
