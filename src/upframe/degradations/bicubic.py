"""The "BI" degradation: MATLAB's bicubic ``imresize``, then rounding to 8 bits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.nn.resize import contributions

_BLOCK = 12
"""Outputs per matrix product."""


def to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """[0, 1] floats to 0..255, clipped, halves rounded up as MATLAB's im2uint8 does."""
    rounded = np.floor(np.clip(image, 0, 1) * 255 + 0.5)
    return np.asarray(rounded, dtype=np.uint8)


def crop_to_multiple(image: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Drop rows and columns at the bottom and right ("modcrop")."""
    height, width = (n - n % multiple for n in image.shape[:2])
    return image[:height, :width]


@lru_cache(maxsize=16)
def _band(scale: int, dtype: str) -> tuple[NDArray[Any], int]:
    """Weights of `_BLOCK` neighbouring outputs, (_BLOCK, inputs), and how many inputs
    lie before the first output's share."""
    # An output far from both ends: its inputs are not mirrored.
    indices, weights = contributions(
        8 * scale, 8, 1 / scale, kernel="bicubic", antialias=True
    )
    inputs, first = indices[4] - indices[4].min(), int(indices[4].min())
    band = np.zeros((_BLOCK, (_BLOCK - 1) * scale + int(inputs.max()) + 1))
    for row in range(_BLOCK):
        band[row, row * scale + inputs] = weights[4]
    return band.astype(dtype), 4 * scale - first


def _shrink(x: NDArray[Any], scale: int, dtype: str) -> NDArray[Any]:
    """(T, L, K) to (T, L / scale, K)."""
    clips, length, width = x.shape
    band, before = _band(scale, dtype)
    count = length // scale
    blocks = -(-count // _BLOCK)
    at = np.arange((blocks - 1) * _BLOCK * scale + band.shape[1]) - before
    at %= 2 * length
    at = np.where(at < length, at, 2 * length - 1 - at)
    windows = np.lib.stride_tricks.sliding_window_view(
        x[:, at].astype(dtype), band.shape[1], axis=1
    )[:, :: _BLOCK * scale].swapaxes(2, 3)
    out: NDArray[Any] = np.matmul(band, windows)
    return out.reshape(clips, blocks * _BLOCK, width)[:, :count]


def bicubic_down(images: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Shrink whole images as published test sets are made.

    For scales 2 and 4 all products and sums are exact: the weights are whole multiples
    of 2^-9 and 2^-12. Others are computed in double precision.

    Args:
        images: (H, W, 3) uint8 or several of a size, (T, H, W, 3); H and W are
            multiples of ``scale``.
        scale: integer factor, at least 1.

    Returns:
        (H / scale, W / scale, 3) uint8, or as many as were given; rounded once, halves
        up, like ``im2uint8(imresize(im2double(x), 1 / scale))``.

    Raises:
        ValueError: if a side is no multiple of ``scale``.
    """
    *several, height, width, channels = images.shape
    if height % scale or width % scale:
        raise ValueError(f"{(height, width)} is no multiple of {scale}")
    h, w = height // scale, width // scale
    # After one axis, values are whole multiples of 2^-12: single precision holds them.
    first = "float32" if scale in (2, 4) else "float64"
    x = _shrink(images.reshape(-1, height, width * channels), scale, first)
    x = x.reshape(-1, h, width, channels).swapaxes(1, 2).reshape(len(x), width, -1)
    x = _shrink(x, scale, "float64").reshape(-1, w, h, channels).swapaxes(1, 2)
    rounded = np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)
    return rounded.reshape(*several, h, w, channels)
