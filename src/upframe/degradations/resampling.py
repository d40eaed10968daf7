"""Resizing as degradation pipelines do it: OpenCV's kernels, and those of video tools.

``bilinear`` and ``bicubic`` do **not** widen their kernels when they shrink: OpenCV's
and PyTorch's do not either, and the aliasing that follows is part of the published
degradations. Pixel centres are at ``(i + 0.5) / scale - 0.5``, edges repeat, the cubic
has a = -0.75 (OpenCV, PyTorch). ``area`` averages the input under each output pixel,
with fractions at its borders.

The ``*_antialiased`` filters widen their kernels, as FFmpeg's swscale, Pillow and
MATLAB do: a triangle, Keys' cubic (a = -0.5) and Lanczos with three lobes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal[
    "area",
    "bilinear",
    "bicubic",
    "bilinear_antialiased",
    "bicubic_antialiased",
    "lanczos3_antialiased",
]

_Weights = NDArray[np.float64]


def _triangle(x: _Weights) -> _Weights:
    """Linear interpolation, support [-1, 1]."""
    return np.asarray(np.maximum(1 - np.abs(x), 0.0))


def _keys(x: _Weights) -> _Weights:
    """Keys' cubic convolution, a = -0.5, support [-2, 2]."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _lanczos3(x: _Weights) -> _Weights:
    """Windowed sinc with three lobes, support [-3, 3]."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_ANTIALIASED: dict[str, tuple[Callable[[_Weights], _Weights], int]] = {
    "bilinear_antialiased": (_triangle, 1),
    "bicubic_antialiased": (_keys, 2),
    "lanczos3_antialiased": (_lanczos3, 3),
}
"""Kernels and half their supports, in pixels of the coarser of both sides."""


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
    elif filter in _ANTIALIASED:
        kernel, support = _ANTIALIASED[filter]
        centre = (rows + 0.5) * (length / out_length) - 0.5
        wide = max(1.0, length / out_length)
        reach = ceil(support * wide)
        for tap in range(-reach, reach + 2):
            at = np.floor(centre).astype(int) + tap
            weight = kernel((centre - at) / wide)
            np.add.at(matrix, (rows, np.clip(at, 0, length - 1)), weight)
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
        filter: how, see above.

    Returns:
        (T, height, width, 3) float32; cubic and Lanczos kernels may overshoot the
        input's range.
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
