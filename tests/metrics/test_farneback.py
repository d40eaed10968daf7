"""Farneback flow: known motion, any size, and OpenCV's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from upframe.degradations.bicubic import to_uint8
from upframe.metrics.flow import farneback, grey, sample
from upframe.nn.resize import imresize

OPENCV = {
    (0, 0): (1.1172, -0.5233),
    (3, 70): (2.1159, -1.2821),
    (25, 38): (2.3233, -1.4953),
    (30, 10): (2.3281, -1.4997),
    (49, 76): (0.2694, -0.3237),
}


def test_a_shift_is_found() -> None:
    picture = texture(130, 150)
    flow = farneback(picture[8:118, 10:140], picture[5:115, 14:144])
    # what is at p lies four pixels left of and three below p in the second picture
    inner = flow[20:-20, 20:-20].reshape(-1, 2)
    np.testing.assert_allclose(inner.mean(0), [-4, 3], atol=0.05)
    assert np.abs(inner - [-4, 3]).max() < 0.5


def test_less_than_a_pixel_is_found() -> None:
    fine = texture(400, 480)
    first, second = (imresize(fine[:, k : k + 400] / 255.0, 0.25) for k in (0, 2))
    flow = farneback(to_uint8(first), to_uint8(second))[20:-20, 20:-20]
    np.testing.assert_allclose(flow.mean((0, 1)), [-0.5, 0], atol=0.05)


def test_the_numbers_of_opencv() -> None:
    # cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0), OpenCV 5.0.0
    y, x = np.mgrid[:50, :77].astype(np.float64)
    first, second = (
        np.floor(
            128 + 60 * np.sin((x - k) / 5 + y / 9) + 50 * np.cos((y + k) / 4)
        ).astype(np.uint8)
        for k in (0, 1.5)
    )
    flow = farneback(first, second)
    for (row, column), want in OPENCV.items():
        np.testing.assert_allclose(flow[row, column], want, atol=0.005)


def test_no_motion() -> None:
    picture = texture(40, 61)
    flow = farneback(picture, picture)
    # the last row and column count as outside, in OpenCV, too
    np.testing.assert_allclose(flow, 0, atol=0.1)
    assert np.abs(flow).mean() < 0.005


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 7), (33, 64), (65, 31)])
def test_any_size(size: tuple[int, int]) -> None:
    first, second = texture(*size), texture(*size, seed=6)
    flow = farneback(first, second)
    assert flow.shape == (*size, 2)
    assert bool(np.isfinite(flow).all())


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="no two pictures"):
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
