"""tOF and the warping error on made motion."""

from __future__ import annotations

import numpy as np
import pytest
from textures import texture

from upframe.metrics.flow import farneback
from upframe.metrics.temporal import flow_difference, tof, visible, warping_error

IMAGE = texture(110, 140)


def _pan(step: float, jitter: tuple[int, int] = (0, 0)) -> list[np.ndarray]:
    """Two frames of a camera that moves right by whole pixels."""
    top, left = 4 + jitter[1], int(4 + step) + jitter[0]
    return [IMAGE[4:100, 4:124], IMAGE[top : top + 96, left : left + 120]]


def test_tof_is_zero_for_equal_clips_and_grows_with_jitter() -> None:
    truth = _pan(2)
    scores = [tof(*_pan(2, (k, k)), *truth) for k in (0, 1, 3)]
    assert scores[0] == 0
    assert scores[1] == pytest.approx(2**0.5, abs=0.25)
    assert scores[2] > scores[1] + 1


def test_tof_is_the_length_of_the_difference() -> None:
    flow = np.zeros((3, 4, 2), np.float32)
    assert flow_difference(flow + np.float32([3, 4]), flow) == pytest.approx(5)


def test_a_translation_has_no_warping_error_and_flicker_has() -> None:
    first, second = _pan(3)
    flows = farneback(first, second), farneback(second, first)
    still = warping_error(first, second, *flows)
    assert 0 <= still < 0.05
    errors = [
        warping_error(first, (second * factor).astype(np.uint8), *flows)
        for factor in (0.95, 0.8)
    ]
    assert still + 0.2 < errors[0] < errors[1]


def test_the_unit_is_a_thousandth_of_a_squared_range() -> None:
    none = np.zeros((20, 20, 2), np.float32)
    dark, light = (np.full((20, 20, 3), v, np.uint8) for v in (0, 51))
    assert warping_error(dark, light, none, none) == pytest.approx(1e3 * 0.2**2)


def test_what_is_hidden_does_not_count() -> None:
    still = np.zeros((20, 30, 2), np.float32)
    assert visible(still, still).all()
    moved = still.copy()
    moved[5:10, 5:10] = (4, 0)
    # flow back says something else there, and motion has an edge around it
    mask = visible(moved, still)
    assert not mask[5:10, 5:10].any()
    assert mask[12:].all()
    out = still + np.float32([25, 0])
    assert not visible(out, -out)[:, 5:].any()
    frame = np.zeros((20, 30, 3), np.uint8)
    far = still + np.float32([40, 0])
    assert np.isnan(warping_error(frame, frame, far, -far))


@pytest.mark.parametrize(
    ("length", "apart", "seen"),
    [(0.0, 0.7, True), (0.0, 0.72, False), (10.0, 1.5, True), (10.0, 1.7, False)],
)
def test_flows_may_disagree_by_the_square_of_their_lengths(
    length: float, apart: float, seen: bool
) -> None:
    # 0.01 * (10² + 10²) + 0.5 is 1.58²; of lengths alone it would be 0.7
    forward = np.zeros((20, 60, 2), np.float32) + np.float32([length, 0])
    back = -forward + np.float32([0, apart])
    assert visible(forward, back)[:, :40].all() == seen
    assert visible(forward, back)[:, :40].any() == seen


def test_an_edge_of_motion_is_the_pixel_before_it() -> None:
    flow = np.zeros((20, 30, 2), np.float32)
    flow[:, 12:] = (0.06, 0)
    mask = visible(flow, -flow)
    assert np.flatnonzero(~mask[3]).tolist() == [11, 29]
    # as fast as this, the same step of 0.06 pixels is no edge
    fast = flow + np.float32([4, 0])
    assert visible(fast, -fast)[3, :20].all()


def test_sizes_must_agree() -> None:
    flow = np.zeros((20, 20, 2), np.float32)
    frame = np.zeros((20, 21, 3), np.uint8)
    with pytest.raises(ValueError, match="sizes differ"):
        warping_error(frame, frame, flow, flow)
