"""The "BI" degradation: MATLAB's bicubic ``imresize``, then rounding to 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from upframe.nn.resize import imresize


def to_uint8(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """[0, 1] floats to 0..255, clipped, halves rounded up as MATLAB's im2uint8 does."""
    rounded = np.floor(np.clip(picture, 0, 1) * 255 + 0.5)
    return np.asarray(rounded, dtype=np.uint8)


def crop_to_multiple(picture: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Drop rows and columns at the bottom and right ("modcrop")."""
    height, width = (n - n % multiple for n in picture.shape[:2])
    return picture[:height, :width]


def bicubic_down(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Shrink a whole picture as published test sets are made.

    Args:
        picture: (H, W, 3) uint8; H and W are multiples of ``scale``.
        scale: integer factor, at least 1.

    Returns:
        (H / scale, W / scale, 3) uint8. Computed in double precision on [0, 1] and
        rounded once, like ``im2uint8(imresize(im2double(x), 1 / scale))``.

    Raises:
        ValueError: if a side is no multiple of ``scale``.
    """
    if picture.shape[0] % scale or picture.shape[1] % scale:
        raise ValueError(f"{picture.shape[:2]} is no multiple of {scale}")
    return to_uint8(imresize(picture / 255.0, 1 / scale))
