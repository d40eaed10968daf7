"""Matching the frames of two videos by what they show."""

from __future__ import annotations

import numpy as np
import pytest

from upframe.media.alignment import align, signatures


def video(frames: int, speed: float = 1.0, seed: int = 0) -> np.ndarray:
    """A smooth texture that moves by ``speed`` thumbnail pixels a frame."""
    rng = np.random.default_rng(seed)
    wide = rng.uniform(0, 255, (18, 64 + int(frames * speed) + 2, 3))
    for _ in range(3):
        wide = (wide + np.roll(wide, 1, 1) + np.roll(wide, 1, 0)) / 3
    shots = []
    for number in range(frames):
        at = number * speed
        low, part = int(at), at % 1
        shots.append(
            (1 - part) * wide[:, low : low + 32] + part * wide[:, low + 1 : low + 33]
        )
    return np.stack(shots)


def noisy(clip: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, clip.shape)
    return np.clip(clip * 0.97 + 4 + noise, 0, 255).astype(np.uint8)


def aligned(source: np.ndarray, output: np.ndarray):
    return align(signatures(source.astype(np.uint8)), signatures(noisy(output)))


@pytest.mark.parametrize("speed", [0, 0.1, 1, 5])
def test_the_same_frames_match_one_to_one(speed):
    clip = video(60, speed)
    found = aligned(clip, clip)
    assert found.source.tolist() == list(range(60))
    assert found.lost == found.doubled == found.reordered == found.unlike == []


@pytest.mark.parametrize(
    "lost", [[0], [7], [59], [20, 21, 22, 40], list(range(10, 35))]
)
def test_lost_frames_are_named(lost):
    clip = video(60)
    kept = [n for n in range(60) if n not in lost]
    found = aligned(clip, clip[kept])
    assert found.lost == lost
    assert not found.doubled
    assert not found.reordered


def test_doubled_frames_are_named():
    clip = video(60)
    shown = sorted([*range(60), 5, 30, 30])
    found = aligned(clip, clip[shown])
    assert found.doubled == [6, 32, 33]
    assert not found.lost


def test_a_changed_rate_shows_although_the_count_is_right():
    clip = video(60)
    shown = [n if n < 20 else n - 1 if n < 40 else n for n in range(60)]
    found = aligned(clip, clip[shown])
    assert found.source.tolist() == shown
    assert found.doubled == [20]
    assert found.lost == [39]


def test_frames_in_another_order_are_named():
    clip = video(30, 3)
    shown = list(range(30))
    shown[10], shown[11] = shown[11], shown[10]
    assert aligned(clip, clip[shown]).reordered == [11]


def test_another_video_is_unlike():
    found = aligned(video(20, seed=3), video(20, seed=4))
    assert len(found.unlike) > 15


def test_thousands_of_frames_take_a_moment():
    clip = video(3000, 0.02)
    found = aligned(clip, np.delete(clip, 1500, 0))
    assert len(found.lost) == 1
