"""BD against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from upframe.degradations.gaussian import gaussian_down, taps


@pytest.mark.parametrize(("phase", "first"), [(None, 2), (0, 0), (3, 3)])
def test_equals_a_direct_computation(phase: int | None, first: int) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    y, x = np.mgrid[-6:7, -6:7]
    kernel = np.exp(-(x**2 + y**2) / (2 * 1.6**2))
    kernel /= kernel.sum()
    padded = np.pad(picture / 255.0, ((6, 6), (6, 6), (0, 0)), "reflect")
    want = np.empty((6, 8, 3))
    for i in range(6):
        for j in range(8):
            r, c = 4 * i + first, 4 * j + first
            patch = padded[r : r + 13, c : c + 13]
            want[i, j] = (patch * kernel[..., None]).sum((0, 1))
    got = gaussian_down(picture, 4, phase)
    np.testing.assert_array_equal(got, np.floor(want * 255 + 0.5))


def test_clips_go_frame_by_frame() -> None:
    rng = np.random.default_rng(1)
    clip = rng.integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)
    want = np.stack([gaussian_down(frame, 4) for frame in clip])
    np.testing.assert_array_equal(gaussian_down(clip, 4), want)
    assert taps().sum() == pytest.approx(1)


def test_refuses_sizes_and_phases_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="multiple"):
        gaussian_down(np.zeros((18, 16, 3), np.uint8), 4)
    with pytest.raises(ValueError, match="phase"):
        gaussian_down(np.zeros((16, 16, 3), np.uint8), 4, 4)
