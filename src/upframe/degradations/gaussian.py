"""The "BD" degradation: a Gaussian of sigma 1.6 on 13x13 pixels, then every 4th pixel.

**Phase.** Output ``(i, j)`` is the blurred pixel ``(s * i + s // 2, s * j + s // 2)``:
for x4 the third pixel of each block, half a pixel beyond the block's centre at 1.5. An
even factor has no pixel at the centre; published codes take either this pixel or the
first of each block (``[::4]``), which shifts the image by two pixels. Whoever
compares with published BD numbers has to know which; ``phase`` gives the other.

Borders mirror without repeating the edge pixel, as OpenCV and PyTorch ("reflect") do.
Used since Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling
Filters" (CVPR 2018), on Vimeo-90K, UDM10 and Vid4.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.degradations.bicubic import to_uint8

SIGMA = 1.6
"""Standard deviation in high-resolution pixels, for every factor."""
WIDTH = 13
"""Side of the kernel in pixels."""


@lru_cache
def taps() -> NDArray[np.float64]:
    """One axis of the separable kernel: (13,), sum 1."""
    offsets = np.arange(WIDTH) - WIDTH // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    weights.setflags(write=False)
    return np.asarray(weights, np.float64)


def _blur_and_take(
    image: NDArray[Any], axis: int, scale: int, first: int
) -> NDArray[np.float64]:
    """Blur along one axis, computing only every ``scale``-th output."""
    pad = [(0, 0)] * image.ndim
    pad[axis] = (WIDTH // 2, WIDTH // 2)
    padded = np.moveaxis(np.pad(image, pad, mode="reflect"), axis, 0)
    length = image.shape[axis]
    rows = np.arange(first, length, scale)
    total = sum(weight * padded[rows + k] for k, weight in enumerate(taps()))
    return np.moveaxis(np.asarray(total, np.float64), 0, axis)


def gaussian_down(
    image: NDArray[np.uint8], scale: int, phase: int | None = None
) -> NDArray[np.uint8]:
    """Shrink an image or a clip as the BD test sets are made.

    Args:
        image: (..., H, W, 3) uint8; H and W are multiples of ``scale``.
        scale: integer factor, at least 1; published for 4.
        phase: which pixel of each block is taken, 0..scale-1; ``scale // 2`` when None.

    Returns:
        (..., H / scale, W / scale, 3) uint8, in double precision, rounded once.

    Raises:
        ValueError: if a side is no multiple of ``scale`` or the phase lies outside.
    """
    height, width = image.shape[-3:-1]
    if height % scale or width % scale:
        raise ValueError(f"{(height, width)} is no multiple of {scale}")
    first = scale // 2 if phase is None else phase
    if not 0 <= first < scale:
        raise ValueError(f"phase {first} lies outside 0..{scale - 1}")
    tall = _blur_and_take(image / 255.0, image.ndim - 3, scale, first)
    return to_uint8(_blur_and_take(tall, image.ndim - 2, scale, first))
