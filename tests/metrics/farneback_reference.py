"""Farneback's flow in NumPy, which checks the metric's.

Written from the paper, "Two-Frame Motion Estimation Based on Polynomial Expansion"
(SCIA 2003), in the steps of OpenCV's ``calcOpticalFlowFarneback``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from upframe.metrics.flow import Plane, grey, positions, sample

_HALVINGS = 3
_SMALLEST = 32
"""No side of the pyramid gets shorter than this."""
_WINDOW = 15
_ITERATIONS = 3
_RADIUS = 5
_SIGMA = 1.2
_EDGE = np.array((0.14, 0.14, 0.4472, 0.4472, 0.4472), np.float32)
"""Trust in the polynomials of the outermost pixels."""


def farneback(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Plane:
    """As :func:`upframe.metrics.flow.farneback`."""
    planes = [
        (grey(p) if p.ndim == 3 else p).astype(np.float32) for p in (first, second)
    ]
    height, width = planes[0].shape
    halvings = 0
    while (
        halvings < _HALVINGS and min(height, width) * 0.5 ** (halvings + 1) >= _SMALLEST
    ):
        halvings += 1
    flow: Plane | None = None
    for level in range(halvings, -1, -1):
        scale = 0.5**level
        size = (round(height * scale), round(width * scale))
        if flow is None:
            flow = np.zeros((*size, 2), np.float32)
        else:
            flow = 2 * _resize(flow, size)
        before, after = (_expand(_shrink(plane, scale, size)) for plane in planes)
        for _ in range(_ITERATIONS):
            flow = _solve(_equations(before, after, flow))
    assert flow is not None
    return flow


def _resize(image: Plane, size: tuple[int, int]) -> Plane:
    """Bilinear, pixel centres, without antialiasing; (H, W, C) to (*size, C)."""
    height, width = image.shape[:2]
    y = (np.arange(size[0], dtype=np.float32) + 0.5) * (height / size[0]) - 0.5
    x = (np.arange(size[1], dtype=np.float32) + 0.5) * (width / size[1]) - 0.5
    yy, xx = np.meshgrid(y, x, indexing="ij")
    return sample(image, xx.astype(np.float32), yy.astype(np.float32))[0]


def _shrink(plane: Plane, scale: float, size: tuple[int, int]) -> Plane:
    """Gaussian blur that suits the scale, then bilinear; (H, W) to size."""
    sigma = (1 / scale - 1) / 2
    if sigma == 0:
        kernel = np.array((0.25, 0.5, 0.25))
    else:
        taps = max(round(5 * sigma) | 1, 3)
        x = np.arange(taps) - (taps - 1) / 2
        kernel = np.exp(-(x**2) / (2 * sigma**2))
        kernel /= kernel.sum()
    radius = len(kernel) // 2
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (radius, radius)
        # an image of one row or column has nothing to mirror
        mode = "reflect" if plane.shape[axis] > 1 else "edge"
        plane = _correlate(np.pad(plane, pads, mode=mode), kernel, axis)  # type: ignore[call-overload]
    return plane if size == plane.shape else _resize(plane[..., None], size)[..., 0]


def _correlate(padded: Plane, kernel: NDArray[np.float64], axis: int) -> Plane:
    """The valid part along one axis of (H, W)."""
    count = padded.shape[axis] - len(kernel) + 1
    shape = list(padded.shape)
    shape[axis] = count
    out = np.zeros(shape, np.float32)
    for k, weight in enumerate(kernel.astype(np.float32)):
        if weight:
            out += weight * (
                padded[k : k + count] if axis == 0 else padded[:, k:][:, :count]
            )
    return out


@lru_cache(maxsize=1)
def _basis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of 1, x and x² under the Gaussian, (3, 11); the inverse Gram matrix."""
    x = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float64)
    g = np.exp(-(x**2) / (2 * _SIGMA**2))
    g /= g.sum()
    yy, xx = np.meshgrid(x, x, indexing="ij")
    functions = np.stack([np.ones_like(xx), xx, yy, xx**2, yy**2, xx * yy]).reshape(
        6, -1
    )
    gram = (functions * np.outer(g, g).ravel()) @ functions.T
    return np.stack([g, x * g, x * x * g]), np.linalg.inv(gram)


def _expand(plane: Plane) -> Plane:
    """Polynomial around every pixel: (H, W) to (H, W, 5) as y, x, yy, xx, xy."""
    (g, xg, xxg), inverse = _basis()
    pad = np.pad(plane, ((_RADIUS, _RADIUS), (0, 0)), mode="edge")
    sides = ((0, 0), (_RADIUS, _RADIUS))
    rows = [np.pad(_correlate(pad, k, 0), sides, mode="edge") for k in (g, xg, xxg)]
    mean = _correlate(rows[0], g, 1) * np.float32(inverse[0, 3])
    out = np.empty((*plane.shape, 5), np.float32)
    out[..., 0] = _correlate(rows[1], g, 1) * np.float32(inverse[2, 2])
    out[..., 1] = _correlate(rows[0], xg, 1) * np.float32(inverse[1, 1])
    out[..., 2] = mean + _correlate(rows[2], g, 1) * np.float32(inverse[4, 4])
    out[..., 3] = mean + _correlate(rows[0], xxg, 1) * np.float32(inverse[3, 3])
    out[..., 4] = _correlate(rows[1], xg, 1) * np.float32(inverse[5, 5])
    return out


def _trust(length: int) -> Plane:
    """Factor by the distance to both ends of an axis."""
    out = np.ones(length, np.float32)
    near = min(len(_EDGE), length)
    out[:near] *= _EDGE[:near]
    out[length - near :] *= _EDGE[:near][::-1]
    return out


def _equations(before: Plane, after: Plane, flow: Plane) -> Plane:
    """Normal equations of the flow of every pixel, (H, W, 5)."""
    height, width = flow.shape[:2]
    across, down = positions(height, width)
    x, y = across + flow[..., 0], down + flow[..., 1]
    there, _ = sample(after, x, y)
    inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    visible = inside[..., None]
    slope = 0.5 * (before[..., :2] - np.where(visible, there[..., :2], 0))
    curve = np.where(visible, 0.5 * (before[..., 2:] + there[..., 2:]), before[..., 2:])
    yy, xx, xy = curve[..., 0], curve[..., 1], 0.5 * curve[..., 2]
    by = slope[..., 0] + yy * flow[..., 1] + xy * flow[..., 0]
    bx = slope[..., 1] + xy * flow[..., 1] + xx * flow[..., 0]
    out = np.stack(
        (
            yy * yy + xy * xy,
            (yy + xx) * xy,
            xx * xx + xy * xy,
            yy * by + xy * bx,
            xy * by + xx * bx,
        ),
        axis=-1,
    )
    trust = np.outer(_trust(height), _trust(width)) ** 2
    return np.asarray(out * trust[..., None], dtype=np.float32)


def _solve(equations: Plane) -> Plane:
    """Equations summed over the window, solved: (H, W, 5) to (H, W, 2)."""
    half = _WINDOW // 2
    sums: NDArray[np.float64] = np.pad(
        equations, ((half + 1, half), (half + 1, half), (0, 0)), mode="edge"
    ).astype(np.float64)
    sums[0] = 0
    sums = np.cumsum(sums, axis=0)
    sums = sums[_WINDOW:] - sums[:-_WINDOW]
    sums[:, 0] = 0
    sums = np.cumsum(sums, axis=1)
    sums = (sums[:, _WINDOW:] - sums[:, :-_WINDOW]) / _WINDOW**2
    yy, xy, xx, by, bx = np.moveaxis(sums, -1, 0)
    factor = 1 / (yy * xx - xy * xy + 1e-3)
    flow = np.stack(((yy * bx - xy * by) * factor, (xx * by - xy * bx) * factor), -1)
    return np.asarray(flow, dtype=np.float32)
