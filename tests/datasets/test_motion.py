"""Clips from photographs move exactly as their paths say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from upframe.datasets.drawing import render
from upframe.datasets.motion import Motion, MotionConfig, draw_motion
from upframe.degradations.bicubic import to_uint8
from upframe.nn.resize import imresize


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth structure of several directions and colours, no aliasing at half size."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = [
        np.sin(x / 5 + y / 9),
        np.sin(x / 11 - y / 4 + 1),
        np.cos(np.hypot(x - 50, y) / 6),
    ]
    return np.stack([127 + 100 * wave for wave in waves], -1).astype(np.uint8)


def sampled(frame: NDArray[np.uint8], x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Bilinear values at (x, y)."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = (x - left)[..., None], (y - top)[..., None]
    f = frame.astype(float)
    upper = f[top, left] * (1 - u) + f[top, left + 1] * u
    lower = f[top + 1, left] * (1 - u) + f[top + 1, left + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


@pytest.mark.parametrize("seed", range(8))
def test_the_next_frame_lies_where_the_known_motion_says(seed: int) -> None:
    config = MotionConfig(parallax=0, occluder=0, still=0, magnification=(1.0, 1.3))
    rng = np.random.default_rng(seed)
    motion = draw_motion(config, rng, 4, (60, 72), (240, 320))
    clip = render(motion, photograph(240, 320))
    for t in range(3):
        flow = motion.flow(t, t + 1)
        y, x = np.mgrid[:60, :72].astype(float)
        x, y = x + flow[..., 0], y + flow[..., 1]
        inside = (x >= 1) & (x < 70) & (y >= 1) & (y < 58)
        assert inside.sum() > 1000
        seen = sampled(clip[t + 1], np.clip(x, 0, 70.9), np.clip(y, 0, 58.9))
        error = np.abs(seen - clip[t])[inside]
        assert error.mean() < 2.0, flow.mean((0, 1))


def test_a_whole_pixel_pan_shifts_the_frame_exactly() -> None:
    step = np.array([[1.0, 0, 40], [0, 1, 30], [0, 0, 1]])
    camera = np.stack([step + np.array([[0, 0, t], [0, 0, 2 * t], [0, 0, 0]])
                       for t in range(3)])  # fmt: skip
    clip = render(Motion((40, 50), camera, ()), photograph(200, 200))
    np.testing.assert_array_equal(clip[0, 2:, 1:], clip[1, :-2, :-1])
    np.testing.assert_array_equal(clip[0, 4:, 2:], clip[2, :-4, :-2])
    direct = photograph(200, 200)[30:70, 40:90].astype(int)
    assert np.abs(clip[0] - direct).mean() < 4
    flow = Motion((40, 50), camera, ()).flow(0, 1)
    np.testing.assert_allclose(flow, np.broadcast_to([-1.0, -2.0], flow.shape))


def test_stripes_finer_than_a_pixel_turn_grey() -> None:
    fine = np.zeros((256, 256, 3), np.uint8)
    fine[:, ::2] = 255
    # 2.3 photograph pixels per output pixel: the stripes cannot be shown any more.
    camera = np.diag([2.3, 2.3, 1.0])[None] + np.zeros((1, 3, 3))
    camera[0, :2, 2] = 5
    clip = render(Motion((90, 90), camera, ()), fine).astype(int)
    assert np.abs(clip - 127).max() < 45


def test_layers_cover_what_lies_behind() -> None:
    plain = MotionConfig(parallax=0, occluder=0, still=1)
    moved = MotionConfig(parallax=0, occluder=1, still=1)
    seen = []
    for config in (plain, moved):
        motion = draw_motion(config, np.random.default_rng(4), 6, (64, 64), (256, 256))
        seen.append(render(motion, photograph(256, 256)).astype(int))
    still, covered = seen
    assert np.abs(still - still[:1]).max() == 0
    changed = (still != covered).any(-1)
    assert 0.02 < changed.mean() < 0.9
    assert np.abs(covered[5] - covered[0]).max() > 10


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(17, 70), st.integers(17, 70)),
    source=st.tuples(st.integers(20, 120), st.integers(20, 120)),
    frames=st.integers(1, 7),
)
def test_any_photograph_gives_the_asked_clip_twice_the_same(
    seed: int, size: tuple[int, int], source: tuple[int, int], frames: int
) -> None:
    picture = photograph(*source)
    clips = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        motion = draw_motion(MotionConfig(), rng, frames, size, source)
        clips.append(render(motion, picture))
    assert clips[0].shape == (frames, *size, 3)
    assert clips[0].dtype == np.uint8
    np.testing.assert_array_equal(*clips)
    # No black beyond the borders: the picture mirrors.
    assert clips[0].max(-1).min() >= 10


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
def test_sharpness_does_not_depend_on_where_between_two_pixels_a_frame_falls(
    factor: float,
) -> None:
    rng = np.random.default_rng(0)
    noise = to_uint8(imresize(rng.random((180, 180, 3)), size=(260, 260)))
    camera = np.stack([np.diag([factor, factor, 1.0])] * 5)
    camera[:, :2, 2] = 20
    camera[:, 0, 2] += np.arange(5) * 0.25 * factor
    clip = render(Motion((80, 80), camera, ()), noise).astype(float)
    sharpness = np.abs(np.diff(clip, axis=2)).mean((1, 2, 3))
    assert sharpness.min() > 10
    assert np.ptp(sharpness) / sharpness.mean() < 0.1
    # four quarters of a pixel are a pixel
    assert np.abs(clip[0][:, 1:] - clip[4][:, :-1]).max() <= 1
