"""Dense optical flow without weights, for the metrics of two frames.

OpenCV's implementation of Farneback, "Two-Frame Motion Estimation Based on Polynomial
Expansion" (SCIA 2003), with the arguments of TecoGAN's evaluation, so that numbers can
be compared with published ones. A NumPy version in the tests checks it.

A flow is (H, W, 2) float32 in pixels, horizontal first: what is at ``p`` in the first
frame is at ``p + flow[p]`` in the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.errors import MissingExtraError

Plane = NDArray[np.float32]

DESCRIPTION = (
    "Farneback flow of OpenCV (no weights; pyramid 3 halvings, window 15, 3 "
    "iterations, polynomials 5 with sigma 1.2)"
)
"""For the printed protocol."""

_ARGUMENTS = (0.5, 3, 15, 3, 5, 1.2, 0)
"""Of ``cv2.calcOpticalFlowFarneback`` after its frames: factor between the levels of
the pyramid, levels below the first, window, iterations, polynomials, their sigma,
flags."""


def opencv() -> Any:
    """The module ``cv2``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("Optical flow", "metrics") from error
    return cv2


def grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """0.299 R + 0.587 G + 0.114 B of (..., 3) in 0..255, rounded to uint8."""
    weights = np.array((0.299, 0.587, 0.114))
    rounded = np.floor(frame.astype(np.float64) @ weights + 0.5)
    return np.asarray(rounded, dtype=np.uint8)


def farneback(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Plane:
    """Flow from one frame to another.

    Args:
        first: (H, W) grey or (H, W, 3) RGB, uint8.
        second: the same shape.

    Returns:
        (H, W, 2) in pixels.

    Raises:
        ValueError: if shapes differ or are not those of frames.
        MissingExtraError: OpenCV is not installed.
    """
    if first.shape != second.shape or first.ndim not in (2, 3) or 0 in first.shape:
        raise ValueError(f"expected two frames, got {first.shape} and {second.shape}")
    planes = [grey(frame) if frame.ndim == 3 else frame for frame in (first, second)]
    flow = opencv().calcOpticalFlowFarneback(*planes, None, *_ARGUMENTS)
    return np.asarray(flow, dtype=np.float32)


def sample(image: Plane, x: Plane, y: Plane) -> tuple[Plane, NDArray[np.bool_]]:
    """Bilinear samples of an image.

    Args:
        image: (H, W, C).
        x: columns, any shape S.
        y: rows, the same shape.

    Returns:
        (*S, C), edge pixels repeated outside, and whether a position lies inside (S).
    """
    height, width = image.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left = np.minimum(x.astype(np.intp), max(width - 2, 0))
    top = np.minimum(y.astype(np.intp), max(height - 2, 0))
    fx = (x - left).astype(np.float32)[..., None]
    fy = (y - top).astype(np.float32)[..., None]
    right, down = min(1, width - 1), min(1, height - 1) * width
    flat, at = image.reshape(height * width, -1), top * width + left
    upper, lower = flat[at], flat[at + down]
    upper += (flat[at + right] - upper) * fx
    lower += (flat[at + down + right] - lower) * fx
    upper += (lower - upper) * fy
    return upper, np.asarray(inside)


def positions(height: int, width: int) -> tuple[Plane, Plane]:
    """Column and row of every pixel, (1, W) and (H, 1)."""
    across = np.arange(width, dtype=np.float32)[None]
    return across, np.arange(height, dtype=np.float32)[:, None]
