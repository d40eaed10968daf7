"""Checkerboards and false texture: grids of known energy, noise, bicubic."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from upframe.degradations.bicubic import bicubic_down, to_uint8
from upframe.metrics.artifacts import SCALES, checkerboard, false_texture
from upframe.metrics.fidelity import luma
from upframe.nn.resize import imresize

SHAPE = (256, 320)


def _noise(sigma: float, seed: int = 0) -> np.ndarray:
    """Grey noise around mid-grey, (H, W) float."""
    return 128 + np.random.default_rng(seed).normal(0, sigma, SHAPE)


def _grey(plane: np.ndarray) -> np.ndarray:
    return to_uint8(np.repeat(plane[..., None], 3, axis=2) / 255)


def _scene(height: int, width: int) -> np.ndarray:
    """Grey noise with the spectrum of photographs, energy by 1 / f²."""
    noise = np.random.default_rng(3).normal(0, 1, (height, width))
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    pink = np.fft.ifft2(np.fft.fft2(noise) / np.maximum(f, 1 / width)).real
    return _grey(128 + 40 * pink / pink.std())


@pytest.mark.parametrize("scale", SCALES)
def test_noise_has_no_checkerboard(scale: int) -> None:
    for seed in range(3):
        assert abs(checkerboard(_grey(_noise(6, seed)), scale)) < 1.5


@pytest.mark.parametrize("scale", SCALES)
def test_a_drawn_grid_raises_it_by_its_energy(scale: int) -> None:
    amplitude, sigma = 4.0, 6.0
    x = np.arange(SHAPE[1])
    wave = amplitude * np.cos(2 * np.pi * x / scale)
    side = 64 // scale * scale
    window = np.outer(np.hanning(side), np.hanning(side))
    # a cosine is two lines of half its amplitude, at Nyquist one of the whole; the
    # window spreads a line over nine bins, whose mean power is a quarter of its peak
    lines = 1 if scale == 2 else 2
    line = (amplitude / lines * window.sum()) ** 2 / 4
    noise = (sigma**2 + 1 / 12) * np.square(window).sum()
    raised = 10 * np.log10(1 + line / noise) * lines / (scale**2 - 1)
    plane = _noise(sigma)
    without, drawn = (checkerboard(_grey(p), scale) for p in (plane, plane + wave))
    assert drawn - without == pytest.approx(raised, abs=0.5)


@pytest.mark.parametrize("scale", SCALES)
def test_a_repeated_tile_is_a_checkerboard_wherever_it_begins(scale: int) -> None:
    tile = np.zeros((scale, scale))
    tile[0, 0] = 8
    grid = np.tile(tile, (SHAPE[0] // scale + 1, SHAPE[1] // scale + 1))
    grid = grid[: SHAPE[0], : SHAPE[1]]
    scores = [
        checkerboard(_grey(_noise(3) + np.roll(grid, shift, (0, 1))), scale, crop=crop)
        for shift, crop in ((0, 0), (1, 0), (0, 3))
    ]
    assert min(scores) > checkerboard(_grey(_noise(3)), scale) + 6
    np.testing.assert_allclose(scores, scores[0], atol=1)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_has_no_checkerboard(scale: int) -> None:
    scene = _scene(576, 696)
    result = to_uint8(imresize(bicubic_down(scene, scale) / 255.0, scale))
    # at scale 2 the harmonics are the Nyquist frequency, which bicubic does not have
    assert checkerboard(result, scale) < 1
    if scale > 2:
        assert checkerboard(result, scale) == pytest.approx(0, abs=1.5)


def test_only_the_flat_half_of_the_blocks_counts() -> None:
    plane = _noise(3)
    wave = 40 * np.cos(np.pi / 2 * np.arange(128))
    textured = plane.copy()
    textured[:128, :128] += np.add.outer(wave, wave)
    assert checkerboard(_grey(textured), 4) == pytest.approx(
        checkerboard(_grey(plane), 4), abs=1
    )


def test_a_frame_without_anything() -> None:
    plain = np.full((64, 64, 3), 77, np.uint8)
    assert checkerboard(plain, 4) == pytest.approx(0, abs=1e-6)
    assert false_texture(plain, plain) == 0
    # rounding to 8 bits bounds it where the original is drawn
    assert 10 < false_texture(_grey(_noise(8))[:64, :64], plain) < 40


def test_false_texture_is_the_ratio_of_energies() -> None:
    original = _grey(_noise(2, 1))
    for sigma in (1, 4, 8):
        result = _grey(_noise(sigma, 2))
        # the energy of white noise is its variance, with that of rounding
        want = 10 * np.log10((sigma**2 + 1 / 6) / (2**2 + 1 / 6))
        assert false_texture(result, original) == pytest.approx(want, abs=0.4)
    assert false_texture(original, original) == 0


def test_texture_counts_only_where_the_original_is_flat() -> None:
    original = _noise(2, 1)
    original[:, 160:] += np.random.default_rng(5).normal(0, 30, (256, 160))
    result = original.copy()
    result[:, 160:] += np.random.default_rng(6).normal(0, 30, (256, 160))
    assert false_texture(_grey(result), _grey(original)) == 0
    result[:, :160] += np.random.default_rng(7).normal(0, 6, (256, 160))
    assert false_texture(_grey(result), _grey(original)) > 6


def test_smooth_results_are_below_zero() -> None:
    scene = _grey(_noise(10))
    smooth = to_uint8(imresize(bicubic_down(scene, 4) / 255.0, 4))
    assert false_texture(smooth, scene) < -8


def test_slow_waves_are_no_texture() -> None:
    x = np.arange(SHAPE[1])
    plane = _noise(2)
    slow = _grey(plane + 20 * np.cos(2 * np.pi * x / 16))
    fast = _grey(plane + 20 * np.cos(2 * np.pi * x / 5))
    assert false_texture(slow, _grey(plane)) == pytest.approx(0, abs=0.3)
    assert false_texture(fast, _grey(plane)) > 10


def test_luma_counts_and_not_colour() -> None:
    """Red against green at equal luma is neither a grid nor a texture."""
    weights = luma(np.eye(3, dtype=np.uint8) * 100) - 16
    noise = _grey(_noise(6))
    step = np.zeros((*SHAPE, 3))
    step[:, ::2] = (weights[1], -weights[0], 0)
    coloured = np.clip(noise + step, 0, 255).astype(np.uint8)
    assert checkerboard(coloured, 2) < checkerboard(noise, 2) + 2
    assert false_texture(coloured, noise) < 0.5


def test_what_cannot_be_measured() -> None:
    scene = texture(70, 80)
    with pytest.raises(ValueError, match="no grid of scale 5"):
        checkerboard(scene, 5)
    with pytest.raises(ValueError, match="64x64 pixels, 72x62 remain"):
        checkerboard(scene, 4, crop=4)
    with pytest.raises(ValueError, match="32x32 pixels, 0x0 remain"):
        false_texture(scene, scene, crop=50)
    with pytest.raises(ValueError, match="sizes differ"):
        false_texture(scene, scene[1:])
    with pytest.raises(ValueError, match="uint8"):
        checkerboard(scene / 255, 4)
