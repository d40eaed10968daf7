"""PSNR and SSIM against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upframe.metrics import luma, psnr, ssim

rng = np.random.default_rng(3)
IMAGE = rng.integers(0, 256, (24, 31, 3), dtype=np.uint8)


def test_luma_range_is_studio() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    np.testing.assert_allclose([luma(black)[0, 0], luma(white)[0, 0]], [16, 235])


def test_luma_of_primaries_by_hand() -> None:
    primaries = (np.eye(3) * 255).astype(np.uint8)[None]
    want = [[16 + 65.481, 16 + 128.553, 16 + 24.966]]
    np.testing.assert_allclose(luma(primaries), want, atol=1e-12)


def test_ssim_of_two_greys_by_hand() -> None:
    # no variance: (2 a b + c1) / (a² + b² + c1), c1 = 2.55² = 6.5025
    dark, light = (np.full((12, 15, 3), v, np.uint8) for v in (100, 120))
    want = (2 * 100 * 120 + 6.5025) / (100**2 + 120**2 + 6.5025)
    assert ssim(dark, light, channel="rgb") == pytest.approx(want, abs=1e-12)
    assert want == pytest.approx(0.983611, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["y", "rgb"]))
def test_the_order_does_not_matter_and_mirrors_change_nothing(
    seed: int, channel: str
) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 256, (2, 14, 17, 3), dtype=np.uint8)
    for metric in (psnr, ssim):
        value = metric(a, b, channel=channel)
        assert metric(b, a, channel=channel) == pytest.approx(value, rel=1e-12)
        flipped = metric(a[::-1, ::-1], b[::-1, ::-1], channel=channel)
        assert flipped == pytest.approx(value, rel=1e-9)


def test_psnr_of_a_known_error() -> None:
    reference = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(reference + 1, reference, channel="rgb") == pytest.approx(
        48.1308, abs=1e-4
    )
    # a grey step of 1 is 219/255 of a step in studio range
    assert psnr(reference + 1, reference) == pytest.approx(
        48.1308 + 20 * np.log10(255 / 219), abs=1e-4
    )


def test_equal_pictures() -> None:
    assert psnr(IMAGE, IMAGE) == float("inf")
    assert ssim(IMAGE, IMAGE) == pytest.approx(1)


def test_crop_ignores_the_border() -> None:
    spoiled = IMAGE.copy()
    spoiled[:4] = 0
    spoiled[:, -4:] = 255
    assert psnr(spoiled, IMAGE, crop=4) == float("inf")
    assert ssim(spoiled, IMAGE, crop=4) == pytest.approx(1)
    assert psnr(spoiled, IMAGE, crop=3) < 60


def test_ssim_matches_its_definition_at_one_position() -> None:
    other = rng.integers(0, 256, (11, 11, 3), dtype=np.uint8)
    patch = IMAGE[:11, :11]
    g = np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)
    w = np.outer(g, g) / g.sum() ** 2
    a, b = luma(patch), luma(other)
    mean_a, mean_b = (w * a).sum(), (w * b).sum()
    var_a, var_b = (w * (a - mean_a) ** 2).sum(), (w * (b - mean_b) ** 2).sum()
    both = (w * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    want = (
        (2 * mean_a * mean_b + c1)
        * (2 * both + c2)
        / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    )
    assert ssim(patch, other) == pytest.approx(want, rel=1e-9)


@given(st.integers(1, 60))
def test_more_noise_scores_lower(strength: int) -> None:
    grey = np.full((16, 16, 3), 128, np.int16)
    noise = np.where(np.indices((16, 16)).sum(0) % 2, 1, -1)[..., None]
    weak, strong = (
        (grey + noise * s).astype(np.uint8) for s in (strength, strength + 5)
    )
    reference = grey.astype(np.uint8)
    assert psnr(strong, reference) < psnr(weak, reference)
    assert ssim(strong, reference) < ssim(weak, reference)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_refuses_what_cannot_be_compared(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="sizes differ"):
        metric(IMAGE, IMAGE[:-1])
    with pytest.raises(ValueError, match="leaves nothing"):
        metric(IMAGE, IMAGE, crop=12)
    with pytest.raises(ValueError, match="unknown channel"):
        metric(IMAGE, IMAGE, channel="u")
