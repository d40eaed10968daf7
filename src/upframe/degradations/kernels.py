"""Blur kernels of the second-order pipeline, and filtering clips with them.

The seven kinds of Real-ESRGAN (Wang et al., ICCVW 2021, section 3.1) with the shapes
of Liu et al., "Estimating Generalized Gaussian Blur Kernels" (2020). With ``q`` the
squared Mahalanobis distance from the centre:

* Gaussian: ``exp(-q / 2)``
* generalised Gaussian: ``exp(-q ** beta / 2)``
* plateau: ``1 / (1 + q ** beta)``
* sinc, the circular low-pass that rings: ``w J1(w r) / (2 pi r)``

"iso" kinds use ``sigma_x`` on both axes. All kernels are symmetric about their centre.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

KernelKind = Literal[
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
    "sinc",
]

_SIZES = (96, 100, 108, 120, 125, 128, 135, 144, 150, 160, 162, 180, 192, 200, 216, 240)


def gaussian_kernel(
    kind: KernelKind,
    size: int,
    sigma_x: float,
    sigma_y: float,
    angle: float,
    beta: float,
) -> NDArray[np.float64]:
    """One of the six Gaussian-like kernels.

    Args:
        kind: any kind but ``sinc``.
        size: side in pixels, odd.
        sigma_x: standard deviation along the first axis of the ellipse, in pixels.
        sigma_y: along the second; not used by iso kinds.
        angle: from the image's x axis to the ellipse's first, in radians.
        beta: shape of generalised (below 1 peaked, above 1 boxy) and plateau kinds.

    Returns:
        (size, size), sum 1.
    """
    if kind.endswith("iso") and not kind.endswith("aniso"):
        sigma_y, angle = sigma_x, 0.0
    at = np.arange(size, dtype=np.float64) - size // 2
    x, y = at[None, :], at[:, None]
    u = (np.cos(angle) * x + np.sin(angle) * y) / sigma_x
    v = (np.cos(angle) * y - np.sin(angle) * x) / sigma_y
    q = u * u + v * v
    if kind.startswith("generalized"):
        kernel = np.exp(-0.5 * q**beta)
    elif kind.startswith("plateau"):
        kernel = 1 / (1 + q**beta)
    else:
        kernel = np.exp(-0.5 * q)
    return np.asarray(kernel / kernel.sum(), np.float64)


def _bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """J1 by Bessel's integral; the trapezoid rule is exact to rounding for x < 100."""
    steps = 160
    tau = np.linspace(0, np.pi, steps + 1)
    weights = np.full(steps + 1, 1.0 / steps)
    weights[[0, -1]] /= 2
    return np.asarray(np.cos(tau - x[..., None] * np.sin(tau)) @ weights, np.float64)


@lru_cache(maxsize=512)
def sinc_kernel(size: int, cutoff: float) -> NDArray[np.float64]:
    """A two-dimensional circular low-pass.

    Args:
        size: side in pixels, odd.
        cutoff: angular frequency above which nothing passes, in (0, pi].

    Returns:
        (size, size), sum 1, read-only; has negative lobes.
    """
    at = np.arange(size, dtype=np.float64) - size // 2
    squares = at[None, :] ** 2 + at[:, None] ** 2
    distinct, where = np.unique(squares, return_inverse=True)
    r = np.sqrt(distinct)
    values = np.full(r.shape, cutoff**2 / (4 * np.pi))
    values[1:] = cutoff * _bessel_j1(cutoff * r[1:]) / (2 * np.pi * r[1:])
    kernel = values[where].reshape(size, size)
    kernel = kernel / kernel.sum()
    kernel.setflags(write=False)
    return np.asarray(kernel, np.float64)


def _fast_length(least: int) -> int:
    """The next length whose transform is quick."""
    return next((n for n in _SIZES if n >= least), -(-least // 30) * 30)


def filter_clip(
    clip: NDArray[np.float32], kernels: list[NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Each frame with its kernel, borders mirrored without repeating the edge pixel.

    Args:
        clip: (T, H, W, 3) float32.
        kernels: one for all frames or T of them, of one size (K, K), K odd, symmetric
            about the centre (so that convolution and correlation agree).

    Returns:
        (T, H, W, 3) float32, not clipped.
    """
    count, height, width = clip.shape[:3]
    size = kernels[0].shape[0]
    edge = size // 2
    padded = np.pad(clip, ((0, 0), (edge, edge), (edge, edge), (0, 0)), "reflect")
    shape = (_fast_length(padded.shape[1]), _fast_length(padded.shape[2]))
    # Circular convolution: what wraps around lies in the margin that is cut off.
    gains = np.fft.rfft2(np.stack(kernels).astype(np.float32), shape)
    planes = np.ascontiguousarray(padded.transpose(0, 3, 1, 2))
    spectrum = np.fft.rfft2(planes, shape)
    spectrum *= gains[:, None]
    out = np.fft.irfft2(spectrum, shape)
    out = out[:, :, 2 * edge :, 2 * edge :][:, :, :height, :width]
    result = np.ascontiguousarray(out.transpose(0, 2, 3, 1), dtype=np.float32)
    assert result.shape[0] == count
    return result
