"""MATLAB-compatible ``imresize`` in NumPy.

The field makes its low-resolution frames ("BI" degradation) and its bicubic baseline
with MATLAB's ``imresize``; other libraries differ in the antialiasing, the cubic's
parameter or the treatment of edges, by more than a published difference between
methods. This module follows MATLAB:

* pixel centres: output ``i`` looks at ``(i + 0.5) / scale - 0.5`` of the input,
* bicubic kernel of Keys (1981) with ``a = -0.5``, or Lanczos with three lobes,
* when an axis shrinks, the kernel is widened by ``1 / scale`` (antialiasing),
* edges mirror with the edge pixel repeated ("symmetric"),
* the axis that shrinks most goes first.

The floating-point form is the reference (``im2double`` before ``imresize``). On a uint8
image MATLAB additionally rounds between its two passes; that is not done here.

Each axis is one banded matrix product: the band of a block of outputs is a small dense
matrix that is made once per geometry and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kernel = Literal["bicubic", "lanczos3"]

_BLOCK = 24
"""Outputs per dense block; small enough that the band wastes little."""


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel, a = -0.5, support [-2, 2]."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _lanczos3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windowed sinc with three lobes, support [-3, 3]."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_KERNELS: dict[
    str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int]
] = {
    "bicubic": (_cubic, 4),
    "lanczos3": (_lanczos3, 6),
}


def contributions(
    length: int, out_length: int, scale: float, kernel: Kernel, antialias: bool
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Input positions and weights of every output along one axis.

    Args:
        length: input samples, at least 1.
        out_length: output samples, at least 1.
        scale: output over input; need not equal ``out_length / length``.
        kernel: ``bicubic`` or ``lanczos3``.
        antialias: widen the kernel when ``scale < 1``.

    Returns:
        ``indices`` and ``weights``, both (out_length, taps); indices lie inside the
        input, each row of weights sums to 1.
    """
    function, width = _KERNELS[kernel]
    shrink = min(scale, 1.0) if antialias else 1.0
    support = width / shrink
    centre = (np.arange(out_length) + 0.5) / scale - 0.5
    left = np.floor(centre - support / 2).astype(np.intp)
    indices = left[:, None] + np.arange(ceil(support) + 2, dtype=np.intp)
    weights = shrink * function(shrink * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    indices %= 2 * length
    indices = np.where(indices < length, indices, 2 * length - 1 - indices)
    used = weights.any(axis=0)
    return indices[:, used], weights[:, used]


@lru_cache(maxsize=64)
def _bands(
    length: int,
    out_length: int,
    scale: float,
    kernel: Kernel,
    antialias: bool,
    channels: int,
    dtype: str,
) -> tuple[tuple[slice, slice, NDArray[Any]], ...]:
    """Blocks (inputs, outputs, matrix (outputs, inputs)) that cover one axis.

    With ``channels`` > 1 the matrices act on interleaved samples, which saves moving
    (H, W, C) images to planes and back.
    """
    indices, weights = contributions(length, out_length, scale, kernel, antialias)
    blocks = []
    for start in range(0, out_length, _BLOCK):
        rows = slice(start, min(start + _BLOCK, out_length))
        low, high = int(indices[rows].min()), int(indices[rows].max()) + 1
        matrix = np.zeros((rows.stop - start, high - low))
        row = np.arange(rows.stop - start)[:, None]
        np.add.at(matrix, (row, indices[rows] - low), weights[rows])
        matrix = np.kron(matrix, np.eye(channels)).astype(dtype)
        matrix.setflags(write=False)
        blocks.append(
            (
                slice(low * channels, high * channels),
                slice(start * channels, rows.stop * channels),
                matrix,
            )
        )
    return tuple(blocks)


def imresize(
    image: NDArray[Any],
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    kernel: Kernel = "bicubic",
    antialias: bool = True,
) -> NDArray[Any]:
    """Resize an image as MATLAB's ``imresize`` does.

    Args:
        image: (H, W) or (H, W, C) of any range. float32 is computed in float32, which
            is fast; everything else in float64, which is the reference.
        scale: output size over input size; the output is ``ceil(scale * size)`` large.
        size: (height, width) of the output instead of ``scale``.
        kernel: ``bicubic`` (MATLAB's default) or ``lanczos3``.
        antialias: widen the kernel along axes that shrink (MATLAB's default).

    Returns:
        The resized image, float32 or float64, C-contiguous. Values are not clipped:
        the kernels overshoot at edges by up to about a fifth of the step.

    Raises:
        ValueError: if neither or both of ``scale`` and ``size`` are given, one of them
            is not positive, or the image has another rank or no pixels.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"expected (H, W) or (H, W, C) pixels, got {image.shape}")
    height, width = image.shape[:2]
    size, scales = _output_size(height, width, scale, size)
    if kernel not in _KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; known: {', '.join(_KERNELS)}")

    dtype = "float32" if image.dtype == np.float32 else "float64"
    channels = 1 if image.ndim == 2 else image.shape[2]
    out = np.ascontiguousarray(image, dtype=dtype).reshape(height, width * channels)
    for axis in sorted((0, 1), key=lambda a: scales[a]):
        length = (height, width)[axis]
        if size[axis] == length and scales[axis] == 1:
            continue
        bands = _bands(
            length,
            size[axis],
            scales[axis],
            kernel,
            antialias,
            1 if axis == 0 else channels,
            dtype,
        )
        if axis == 0:
            result = np.empty((size[0], out.shape[1]), dtype)
            for inputs, outputs, matrix in bands:
                np.matmul(matrix, out[inputs], out=result[outputs])
        else:
            result = np.empty((out.shape[0], size[1] * channels), dtype)
            for inputs, outputs, matrix in bands:
                np.matmul(out[:, inputs], matrix.T, out=result[:, outputs])
        out = result
    if out is image or np.shares_memory(out, image):
        out = out.copy()
    return out.reshape(size if image.ndim == 2 else (*size, channels))


def _output_size(
    height: int, width: int, scale: float | None, size: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Height and width of the output, and the scale of each axis."""
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    if scale is not None:
        if not (isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive, got {scale}")
        return (ceil(scale * height), ceil(scale * width)), (scale, scale)
    assert size is not None
    if min(size) < 1:
        raise ValueError(f"size must be positive, got {size}")
    return size, (size[0] / height, size[1] / width)
