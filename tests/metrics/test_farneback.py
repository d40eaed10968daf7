"""Farneback flow: known motion, any size, and the same in NumPy."""

from __future__ import annotations

import sys

import farneback_reference
import numpy as np
import pytest
from textures import texture

from upframe.degradations.bicubic import to_uint8
from upframe.errors import MissingExtraError
from upframe.metrics.flow import farneback, grey, sample
from upframe.metrics.temporal import flow_difference, warping_error
from upframe.nn.resize import imresize


def test_a_shift_is_found() -> None:
    scene = texture(130, 150)
    flow = farneback(scene[8:118, 10:140], scene[5:115, 14:144])
    # what is at p lies four pixels left of and three below p in the second frame
    inner = flow[20:-20, 20:-20].reshape(-1, 2)
    np.testing.assert_allclose(inner.mean(0), [-4, 3], atol=0.05)
    assert np.abs(inner - [-4, 3]).max() < 0.5


def test_less_than_a_pixel_is_found() -> None:
    fine = texture(400, 480)
    first, second = (imresize(fine[:, k : k + 400] / 255.0, 0.25) for k in (0, 2))
    flow = farneback(to_uint8(first), to_uint8(second))[20:-20, 20:-20]
    np.testing.assert_allclose(flow.mean((0, 1)), [-0.5, 0], atol=0.05)


def _waves() -> list[np.ndarray]:
    y, x = np.mgrid[:50, :77].astype(np.float64)
    return [
        np.floor(
            128 + 60 * np.sin((x - k) / 5 + y / 9) + 50 * np.cos((y + k) / 4)
        ).astype(np.uint8)
        for k in (0, 1.5)
    ]


SCENE = texture(130, 150)


@pytest.mark.parametrize("frames", [_waves(), [SCENE[8:118, 10:], SCENE[5:115, :-10]]])
def test_the_same_as_in_numpy(frames: list[np.ndarray]) -> None:
    flow, reference = farneback(*frames), farneback_reference.farneback(*frames)
    apart = np.abs(flow - reference)
    assert apart.mean() < 1e-3
    assert np.quantile(apart, 0.999) < 0.01


def test_scores_are_those_of_the_flow_in_numpy() -> None:
    """tOF and E*warp agree to a thousandth of their value."""
    rng = np.random.default_rng(2)
    scene = texture(130, 150)
    truth = [scene[4:124, 4:144], scene[5:125, 7:147]]
    noisy = [
        np.clip(frame + rng.normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
        for frame in truth
    ]
    scores = []
    for flow in (farneback, farneback_reference.farneback):
        forward, backward = flow(*truth), flow(*truth[::-1])
        tof = flow_difference(flow(*noisy), forward)
        scores.append((tof, warping_error(*noisy, forward, backward)))
    np.testing.assert_allclose(*scores, rtol=1e-3)


def test_without_opencv_the_install_line_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"upframe\[metrics\]"):
        farneback(texture(20, 20), texture(20, 20))


def test_no_motion() -> None:
    scene = texture(40, 61)
    flow = farneback(scene, scene)
    # the last row and column count as outside
    np.testing.assert_allclose(flow, 0, atol=0.1)
    assert np.abs(flow).mean() < 0.005


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 7), (33, 64), (65, 31)])
def test_any_size(size: tuple[int, int]) -> None:
    first, second = texture(*size), texture(*size, seed=6)
    flow = farneback(first, second)
    assert flow.shape == (*size, 2)
    assert bool(np.isfinite(flow).all())


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected two frames"):
        farneback(texture(20, 20), texture(20, 21))


def test_grey_of_primaries() -> None:
    primaries = (np.eye(3) * 255).astype(np.uint8)
    assert grey(primaries).tolist() == [76, 150, 29]


def test_samples_between_pixels() -> None:
    image = np.array([[[0.0], [10.0]], [[20.0], [30.0]]], np.float32)
    x, y = (np.array(v, np.float32) for v in ([0.5, 1.0, -3.0], [0.5, 0.25, 0.0]))
    values, inside = sample(image, x, y)
    assert values[:, 0].tolist() == [15, 15, 0]
    assert inside.tolist() == [True, True, False]
