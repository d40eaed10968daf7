"""PSNR and SSIM on 8-bit images.

The conventions are those of published tables: images are rounded to 8 bits first;
"Y" is the studio-range luma of BT.601 and is not rounded again; a border is cropped on
each side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# MATLAB's rgb2ycbcr, for RGB in 0..255.
_LUMA = np.array([65.481, 128.553, 24.966]) / 255.0


def luma(image: NDArray[np.uint8]) -> Floats:
    """Studio-range luma of BT.601: 16 + 65.481 R + 128.553 G + 24.966 B.

    Args:
        image: (..., 3) RGB, 0..255.

    Returns:
        (...) in 16..235, not rounded.
    """
    out: Floats = image.astype(np.float64) @ _LUMA + 16.0
    return out


def _prepare(image: NDArray[np.uint8], channel: str, crop: int) -> Floats:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {image.shape}")
    height, width = image.shape[:2]
    if min(height, width) <= 2 * crop:
        raise ValueError(f"a border of {crop} leaves nothing of {height}x{width}")
    if channel == "y":
        plane = luma(image)[..., None]
    elif channel == "rgb":
        plane = image.astype(np.float64)
    else:
        raise ValueError(f"unknown channel {channel!r}; known: y, rgb")
    return plane[crop : height - crop, crop : width - crop]


def _pair(
    result: NDArray[np.uint8], reference: NDArray[np.uint8], channel: str, crop: int
) -> tuple[Floats, Floats]:
    if result.shape != reference.shape:
        raise ValueError(f"sizes differ: {result.shape} and {reference.shape}")
    return _prepare(result, channel, crop), _prepare(reference, channel, crop)


def psnr(
    result: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    channel: str = "y",
    crop: int = 0,
) -> float:
    """Peak signal-to-noise ratio.

    Args:
        result: (H, W, 3) RGB uint8.
        reference: the same size.
        channel: ``y`` (BT.601 studio range) or ``rgb`` (all three together).
        crop: pixels left out on every side.

    Returns:
        Decibels against a peak of 255; ``inf`` for equal images.

    Raises:
        ValueError: if sizes differ, the crop leaves nothing, or the channel is unknown.
    """
    a, b = _pair(result, reference, channel, crop)
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def _window() -> Floats:
    x = np.arange(11) - 5.0
    weights = np.exp(-(x**2) / (2 * 1.5**2))
    return np.asarray(weights / weights.sum())


def _blur(plane: Floats) -> Floats:
    """Gaussian 11x11, sigma 1.5, valid region of (H, W, C)."""
    w = _window()
    rows, columns = plane.shape[0] - 10, plane.shape[1] - 10
    upright: Floats = np.zeros_like(plane[:rows])
    for k in range(11):
        upright += w[k] * plane[k : k + rows]
    out: Floats = np.zeros_like(upright[:, :columns])
    for k in range(11):
        out += w[k] * upright[:, k : k + columns]
    return out


def ssim(
    result: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    channel: str = "y",
    crop: int = 0,
) -> float:
    """Structural similarity (Wang et al. 2004).

    11x11 Gaussian window with sigma 1.5, K1 0.01, K2 0.03, valid region, mean over
    positions, then over channels.

    Args:
        result: (H, W, 3) RGB uint8.
        reference: the same size.
        channel: ``y`` or ``rgb``.
        crop: pixels left out on every side.

    Returns:
        At most 1, which equal images reach.

    Raises:
        ValueError: as :func:`psnr`, and if less than 11x11 pixels remain.
    """
    a, b = _pair(result, reference, channel, crop)
    if min(a.shape[:2]) < 11:
        raise ValueError(f"SSIM needs 11x11 pixels, {a.shape[:2]} remain")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(np.mean(top / bottom))
