"""Kernels have the asked shape; filtering equals its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upframe.degradations.kernels import filter_clip, gaussian_kernel, sinc_kernel
from upframe.degradations.resampling import resize_clip

KINDS = [
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
]


@given(
    kind=st.sampled_from(KINDS),
    size=st.sampled_from(range(7, 22, 2)),
    sigma=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)),
    angle=st.floats(-3.14, 3.14),
    beta=st.floats(0.5, 4),
)
def test_kernels_sum_to_one_and_are_symmetric(kind, size, sigma, angle, beta) -> None:
    kernel = gaussian_kernel(kind, size, *sigma, angle, beta)
    assert kernel.shape == (size, size)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_gaussians_have_the_asked_widths_along_their_axes() -> None:
    angle = 0.6
    kernel = gaussian_kernel("aniso", 41, 3.0, 1.2, angle, 1.0)
    y, x = np.mgrid[-20:21, -20:21]
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    assert np.sqrt((kernel * along**2).sum()) == pytest.approx(3.0, rel=1e-3)
    assert np.sqrt((kernel * across**2).sum()) == pytest.approx(1.2, rel=1e-3)
    assert abs((kernel * along * across).sum()) < 1e-6


def test_iso_kinds_ignore_what_makes_an_ellipse() -> None:
    for kind in ("iso", "generalized_iso", "plateau_iso"):
        one = gaussian_kernel(kind, 15, 2.0, 0.3, 1.0, 1.5)
        np.testing.assert_array_equal(
            one, gaussian_kernel(kind, 15, 2.0, 2.9, -2.0, 1.5)
        )
        np.testing.assert_allclose(one, one.T)


@pytest.mark.parametrize("cutoff", [np.pi / 5, np.pi / 3, 2.0, np.pi])
def test_sinc_kernels_pass_low_and_stop_high_frequencies(cutoff: float) -> None:
    kernel = sinc_kernel(21, cutoff)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() < 0
    gain = np.abs(np.fft.rfft(kernel.sum(0), 512))
    frequency = np.linspace(0, np.pi, 257)
    assert gain[frequency < 0.5 * cutoff].min() > 0.7
    if cutoff < 2.5:
        assert gain[frequency > cutoff + 0.5].max() < 0.2


@pytest.mark.parametrize("shape", [(2, 33, 47, 3), (1, 5, 4, 3), (2, 100, 9, 3)])
def test_filtering_equals_a_direct_sum(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    clip = rng.random(shape, np.float32)
    kernels = [
        gaussian_kernel("aniso", 9, 2.0 + i, 1.0, 0.4, 1.0) for i in range(shape[0])
    ]
    padded = np.pad(clip, ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect")
    want = np.zeros(shape)
    for t, kernel in enumerate(kernels):
        for dy in range(9):
            for dx in range(9):
                part = padded[t, dy : dy + shape[1], dx : dx + shape[2]]
                want[t] += kernel[dy, dx] * part
    np.testing.assert_allclose(filter_clip(clip, kernels), want, atol=2e-6)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    name=st.sampled_from(["area", "bilinear", "bicubic"]),
)
def test_resizing_keeps_flat_pictures_flat(size, target, name) -> None:
    clip = np.full((2, *size, 3), 0.4, np.float32)
    out = resize_clip(clip, target, name)
    assert out.shape == (2, *target, 3)
    np.testing.assert_allclose(out, 0.4, atol=1e-6)


def test_area_averages_blocks_and_bilinear_interpolates() -> None:
    rng = np.random.default_rng(0)
    clip = rng.random((1, 8, 12, 3), np.float32)
    want = clip.reshape(1, 4, 2, 4, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(resize_clip(clip, (4, 4), "area"), want, atol=1e-6)
    ramp = np.zeros((1, 1, 16, 3), np.float32) + np.arange(16)[None, None, :, None]
    ramp = ramp.astype(np.float32)
    finer = resize_clip(ramp, (1, 32), "bilinear")[0, 0, 2:-2, 0]
    np.testing.assert_allclose(np.diff(finer), 0.5, atol=1e-5)
