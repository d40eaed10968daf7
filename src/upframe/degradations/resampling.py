"""Resizing as the degradation pipelines do it: area, bilinear and bicubic.

Unlike `upframe.nn.resize`, bilinear and bicubic do **not** widen their kernels when
they shrink: OpenCV's and PyTorch's do not either, and the aliasing that follows is part
of the published degradations. Pixel centres are at ``(i + 0.5) / scale - 0.5``, edges
repeat, the cubic has a = -0.75 (OpenCV, PyTorch). ``area`` averages the input under
each output pixel, with fractions at its borders.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal["area", "bilinear", "bicubic"]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution, a = -0.75, support [-2, 2]."""
    a, x = -0.75, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def _matrix(length: int, out_length: int, filter: Filter) -> NDArray[np.float32]:
    """(out_length, length) weights of one axis; rows sum to 1."""
    matrix = np.zeros((out_length, length))
    rows = np.arange(out_length)
    if filter == "area":
        edges = np.arange(out_length + 1) * (length / out_length)
        at = np.arange(length)
        low = np.maximum(edges[:-1, None], at)
        high = np.minimum(edges[1:, None], at + 1)
        matrix = np.maximum(high - low, 0)
    else:
        centre = (rows + 0.5) * (length / out_length) - 0.5
        first = np.floor(centre).astype(int)
        for tap in range(0, 2) if filter == "bilinear" else range(-1, 3):
            distance = centre - (first + tap)
            linear = filter == "bilinear"
            weight = 1 - np.abs(distance) if linear else _cubic(distance)
            np.add.at(matrix, (rows, np.clip(first + tap, 0, length - 1)), weight)
    weights = np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)
    weights.setflags(write=False)
    return weights


def resize_clip(
    clip: NDArray[np.float32], size: tuple[int, int], filter: Filter
) -> NDArray[np.float32]:
    """All frames to one size.

    Args:
        clip: (T, H, W, 3) float32.
        size: (height, width) of the result, at least 1.
        filter: ``area``, ``bilinear`` or ``bicubic``.

    Returns:
        (T, height, width, 3) float32; bicubic may overshoot the input's range.
    """
    count, height, width, channels = clip.shape
    if size == (height, width):
        return clip
    rows = _matrix(height, size[0], filter)
    columns = _matrix(width, size[1], filter)
    flat = clip.reshape(count, height, width * channels)
    tall = np.matmul(rows, flat).reshape(count * size[0], width, channels)
    lines = np.ascontiguousarray(tall.transpose(0, 2, 1)).reshape(-1, width)
    out = (lines @ columns.T).reshape(count, size[0], channels, size[1])
    return np.ascontiguousarray(out.transpose(0, 1, 3, 2), dtype=np.float32)
