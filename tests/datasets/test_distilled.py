"""Clips with a teacher's frames: windows over both directions, aligned patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from upframe.datasets.distilled import (
    MARGIN,
    DistilledClip,
    DistilledClips,
    read_clip,
    write_clip,
)
from upframe.errors import InputError

FRAMES, EVERY, SIDE = 10, 3, 24 + 2 * MARGIN


def numbered(count: int = FRAMES, every: int = EVERY) -> DistilledClip:
    """Pixels that tell their frame (red), row (green) and column (blue)."""
    frames = np.arange(1, count, every)

    def drawn(numbers: np.ndarray, scale: int) -> np.ndarray:
        y, x = np.mgrid[: SIDE * scale, : SIDE * scale] // scale
        return np.stack(
            [np.stack([np.full_like(x, n), y, x], -1) for n in numbers]
        ).astype(np.uint8)

    teacher = drawn(frames, 4)
    teacher[..., 0] += 100
    return DistilledClip(drawn(np.arange(count), 1), frames, teacher, drawn(frames, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        write_clip(numbered(), tmp_path / f"{number:05d}.npz")
    return tmp_path


def test_a_clip_comes_back(folder: Path) -> None:
    clip, again = numbered(), read_clip(folder / "00000.npz")
    for name, value in vars(clip).items():
        np.testing.assert_array_equal(value, getattr(again, name))
    assert not list(folder.glob("*.part"))


def test_windows_run_both_ways_and_end_in_one_frame_of_look_ahead(
    folder: Path,
) -> None:
    clips, rng = DistilledClips(folder), np.random.default_rng(0)
    starts, lengths = set(), set()
    for _ in range(300):
        window = clips.window(rng, 20)
        assert len(window.order) == window.places[1] + 2
        assert window.places[1] - window.places[0] == EVERY
        assert set(np.abs(np.diff(window.order))) == {1}
        for place, target in zip(window.places, window.targets, strict=True):
            assert window.order[place] == numbered().frames[target]
        first = window.order[window.places[0]]
        starts.add((first, window.order[window.places[0] + 1] - first))
        lengths.add(window.places[0])
    # every neighbouring pair of targets, forwards and backwards
    assert starts == {(1, 1), (4, 1), (4, -1), (7, -1)}
    assert min(lengths) == 0
    assert 15 < max(lengths) <= 20


def test_patches_are_aligned_and_inside_the_margin(folder: Path) -> None:
    clips, rng = DistilledClips(folder), np.random.default_rng(1)
    turned = set()
    for _ in range(40):
        window = clips.window(rng, 5)
        section = clips.section(window, 16, rng)
        assert section.low.shape == (len(window.order), 16, 16, 3)
        assert section.teacher.shape == section.high.shape == (2, 64, 64, 3)
        assert [f[0, 0, 0] for f in section.low] == list(window.order)
        low = section.low[list(window.places)]
        np.testing.assert_array_equal(section.high[:, ::4, ::4], low)
        np.testing.assert_array_equal(section.teacher[..., 1:], section.high[..., 1:])
        assert (section.teacher[..., 0] == section.high[..., 0] + 100).all()
        places = section.low[..., 1:]
        assert places.min() >= MARGIN
        assert places.max() < SIDE - MARGIN
        turned.add(tuple(np.sign(places[0, 1, 0].astype(int) - places[0, 0, 0])))
    assert len(turned) == 4


def test_refuses_what_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clips"):
        DistilledClips(tmp_path / "nowhere")
    clips, rng = DistilledClips(folder), np.random.default_rng(0)
    with pytest.raises(InputError, match="at most 24"):
        clips.section(clips.window(rng, 0), 32, rng)
    for path in clips.paths:
        write_clip(numbered(12), path)
    with pytest.raises(InputError, match="other frames"):
        clips.section(clips.window(rng, 0), 16, rng)
    clips.paths[0].write_bytes(b"no clip")
    with pytest.raises(InputError, match="Delete it"):
        DistilledClips(folder)
