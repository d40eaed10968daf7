"""Artifacts of upscaling that PSNR and LPIPS miss: checkerboards and false texture.

Both are ratios of spectral energy in flat blocks of the luma, in decibels. Networks
that end in a pixel shuffle or a transposed convolution can repeat a pattern with the
period of their scale (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill
2016), and a perceptual loss with strides may reward it. `checkerboard` measures that
pattern, `false_texture` any texture where the original has none. They follow no
published metric; their definitions are complete below and in docs/metrics.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from upframe.metrics.fidelity import Floats, luma

SCALES = (2, 3, 4)
"""Scales that `checkerboard` knows."""

CHECKERBOARD_BLOCK = 64
"""Longest side of its blocks; shorter where the scale does not divide it."""
TEXTURE_BLOCK = 32
"""Side of the blocks of `false_texture`."""
TEXTURE_FREQUENCY = 1 / 8
"""Cycles per pixel above which energy counts as texture: the finest that a frame holds
which was shrunk by 4."""

_PEAK = 1
"""A harmonic is the mean over this many bins to each side, the width of the window."""
_NEAR = (4, 6)
"""Its neighbours lie at these distances, in bins."""
_FLOOR = 1e-3
"""Is added to both energies, so that blocks without any give 0 dB."""
_ROUNDING = float(np.square((65.481, 128.553, 24.966)).sum() / 255**2 / 12)
"""Variance of the luma that rounding to 8 bits gives."""


def checkerboard(result: NDArray[np.uint8], scale: int, *, crop: int = 0) -> float:
    """How far a grid of the scale's period stands out of flat blocks.

    The luma is cut into blocks of 64x64 (63x63 for scale 3), the flatter half of them
    is windowed (Hann) and their power spectra are averaged. Each harmonic of the grid,
    a multiple of 1 / scale cycles per pixel in either direction, is compared with the
    median of its neighbours 4 to 6 bins away.

    Args:
        result: (H, W, 3) RGB uint8.
        scale: of the model, 2 to 4.
        crop: pixels left out on every side.

    Returns:
        Mean over the harmonics, in decibels: about 0 for bicubic and for noise, larger
        is worse.

    Raises:
        ValueError: another scale, no frame, or less than one block remains.
    """
    if scale not in SCALES:
        raise ValueError(f"there is no grid of scale {scale}; use {SCALES}")
    side = CHECKERBOARD_BLOCK // scale * scale
    blocks = _blocks(_plane(result, crop), side)
    flat = _flattest(blocks, len(blocks) // 2)
    power = np.square(np.abs(np.fft.fft2(_windowed(blocks[flat])))).mean(0)
    harmonics = np.arange(0, side, side // scale)
    u, v = (n.ravel()[1:] for n in np.meshgrid(harmonics, harmonics, indexing="ij"))
    peak = _around(power, u, v, 0, _PEAK).mean(-1)
    near = np.median(_around(power, u, v, *_NEAR), axis=-1)
    return float(np.mean(10 * np.log10((peak + _FLOOR) / (near + _FLOOR))))


def false_texture(
    result: NDArray[np.uint8], reference: NDArray[np.uint8], *, crop: int = 0
) -> float:
    """Fine texture of the result where the original is flat, over the original's.

    The quarter of the blocks of 32x32 that is flattest in the original is windowed
    (Hann), and the energy above 1/8 cycle per pixel is summed over them. The energy
    that rounding to 8 bits has is added to both sides, which bounds the ratio where
    the original is drawn and has no texture at all.

    Args:
        result: (H, W, 3) RGB uint8.
        reference: the original, the same size.
        crop: pixels left out on every side.

    Returns:
        Decibels: 0 for equal frames; below 0 the result is smoother, above 0 it draws
        texture (checkerboards, noise, ringing) where there is none.

    Raises:
        ValueError: the sizes differ, this is no frame, or less than one block remains.
    """
    if result.shape != reference.shape:
        raise ValueError(f"sizes differ: {result.shape} and {reference.shape}")
    planes = (_plane(frame, crop) for frame in (result, reference))
    drawn, original = (_blocks(plane, TEXTURE_BLOCK) for plane in planes)
    flat = _flattest(original, len(original) // 4)
    window, high = _window(TEXTURE_BLOCK), _above(TEXTURE_BLOCK, TEXTURE_FREQUENCY)
    floor = len(flat) * _ROUNDING * np.square(window).sum() * high.sum()
    above, below = (
        np.square(np.abs(np.fft.fft2(_windowed(blocks[flat]))))[:, high].sum() + floor
        for blocks in (drawn, original)
    )
    return float(10 * np.log10(above / below))


def _plane(frame: NDArray[np.uint8], crop: int) -> Floats:
    """Luma of a frame inside the border."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {frame.shape}")
    height, width = frame.shape[:2]
    return luma(frame[crop : max(crop, height - crop), crop : max(crop, width - crop)])


def _blocks(plane: Floats, side: int) -> Floats:
    """Whole blocks from the top left, (H, W) to (N, side, side)."""
    rows, columns = (n // side for n in plane.shape)
    if not rows or not columns:
        height, width = plane.shape
        raise ValueError(f"it needs {side}x{side} pixels, {width}x{height} remain")
    whole = plane[: rows * side, : columns * side]
    cut = whole.reshape(rows, side, columns, side).swapaxes(1, 2)
    return cut.reshape(-1, side, side)


def _flattest(blocks: Floats, count: int) -> NDArray[np.intp]:
    """Numbers of the blocks with the least variance, one at least."""
    return np.argsort(blocks.std((1, 2)), kind="stable")[: max(1, count)]


def _windowed(blocks: Floats) -> Floats:
    centred: Floats = blocks - blocks.mean((1, 2), keepdims=True)
    return centred * _window(blocks.shape[-1])


@lru_cache(maxsize=4)
def _window(side: int) -> Floats:
    return np.outer(np.hanning(side), np.hanning(side))


@lru_cache(maxsize=4)
def _above(side: int, frequency: float) -> NDArray[np.bool_]:
    """Bins of a block's spectrum above a frequency in cycles per pixel."""
    f = np.fft.fftfreq(side)
    return np.asarray(np.hypot(f[:, None], f[None]) > frequency)


def _around(
    power: Floats, u: NDArray[np.intp], v: NDArray[np.intp], least: int, most: int
) -> Floats:
    """Bins at a distance (the larger of both axes) of some bins: (K,) to (K, M)."""
    steps = np.arange(-most, most + 1)
    du, dv = (n.ravel() for n in np.meshgrid(steps, steps, indexing="ij"))
    ring = np.maximum(np.abs(du), np.abs(dv)) >= least
    side = len(power)
    rows, columns = u[:, None] + du[None, ring], v[:, None] + dv[None, ring]
    return np.asarray(power[rows % side, columns % side])
