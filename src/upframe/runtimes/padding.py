"""Sizes that networks accept, and checks of what they return."""

from __future__ import annotations

import numpy as np

from upframe.errors import RuntimeFailure
from upframe.runtimes.base import FloatFrame
from upframe.weights.card import ModelCard


def pad(frame: FloatFrame, card: ModelCard) -> FloatFrame:
    """Extend a frame (h, w, 3) at the bottom and right to a size the card accepts.

    It is mirrored, without repeating its last line; a frame of one line is repeated. A
    frame that fits is returned as it is.
    """
    height, width = frame.shape[:2]
    bottom = _accepted(height, card) - height
    right = _accepted(width, card) - width
    if bottom == 0 and right == 0:
        return frame
    return np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode="reflect")


def crop(output: FloatFrame, frame: FloatFrame, card: ModelCard) -> FloatFrame:
    """Cut the output (H, W, 3) for a padded frame to ``card.scale`` times the frame.

    Raises:
        RuntimeFailure: the output is too small or not RGB.
    """
    height, width = (side * card.scale for side in frame.shape[:2])
    shape = output.shape
    if len(shape) != 3 or shape[2] != 3 or shape[0] < height or shape[1] < width:
        raise RuntimeFailure(
            f"{card.name} made {shape} values from a frame of "
            f"{frame.shape[1]}x{frame.shape[0]}.",
            f"The file does not fit its card, which says scale {card.scale}.",
        )
    return np.ascontiguousarray(output[:height, :width])


def is_finite(output: FloatFrame) -> bool:
    """Whether the output holds neither NaN nor infinity; reads it once."""
    # one NaN or infinity makes the sum one; pixels in [0, 1] cannot overflow it
    with np.errstate(all="ignore"):
        return bool(np.isfinite(output.sum()))


def not_finite(
    card: ModelCard, runtime: str, precision: str = "fp32"
) -> RuntimeFailure:
    """The error for outputs with NaN or infinity."""
    if precision in ("fp16", "bf16"):
        return RuntimeFailure(
            f"{card.name} gave values that are no numbers (NaN) in {precision} with "
            f"runtime {runtime}.",
            "Its range is too small for this video: use --precision fp32.",
        )
    return RuntimeFailure(
        f"{card.name} gave values that are no numbers (NaN) with runtime {runtime}.",
        "Try --device cpu; if that fails too, the weights are damaged.",
    )


def no_memory(card: ModelCard, frame: FloatFrame, device: str) -> RuntimeFailure:
    """The error for exhausted memory."""
    return RuntimeFailure(
        f"{card.name} ran out of memory on {device} with a frame of "
        f"{frame.shape[1]}x{frame.shape[0]}.",
        "Use smaller tiles: set a smaller --memory, for example 1GiB.",
    )


def _accepted(side: int, card: ModelCard) -> int:
    """The next side length that the network takes."""
    return -(-max(side, card.min_size) // card.multiple) * card.multiple
