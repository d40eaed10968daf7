"""Frames of real clips on disk, and batches for temporal training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from material import reference
from upframe.datasets.clips import ClipCache
from upframe.datasets.pairs import PairCache
from upframe.datasets.temporal import TemporalData
from upframe.degradations.bicubic import bicubic_down
from upframe.degradations.ranges import RealConfig
from upframe.errors import InputError
from upframe.media.source import FileSource


@pytest.fixture
def photographs(tmp_path: Path) -> PairCache:
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:160, :200]
    wave = 127 + 100 * np.sin(x / 7) * np.cos(y / 5)
    Image.fromarray(np.stack([wave, x, y], -1).astype(np.uint8)).save(folder / "a.png")
    return PairCache.build(folder, tmp_path / "cache", 4, 8)


def test_frames_are_those_of_the_decoder_and_decoded_once(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    path = clip("videos/in.mp4", frames=9)
    cache = ClipCache.build(folder, tmp_path / "cache")
    want = np.stack([frame.pixels for frame in FileSource(path)])
    np.testing.assert_array_equal(cache.clips[0], want)
    (made,) = (tmp_path / "cache").glob("clips-*/0000.npy")
    before = made.stat().st_mtime_ns
    assert ClipCache.build(folder, tmp_path / "cache").names == ["in.mp4"]
    assert made.stat().st_mtime_ns == before
    assert len(ClipCache.build(folder, tmp_path / "cache", most=4).clips[0]) == 4


def test_pieces_are_neighbouring_frames_and_short_clips_swing(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    clip("videos/in.mp4", frames=5)
    cache = ClipCache.build(folder, tmp_path / "cache")
    stored = cache.clips[0]
    size = stored.shape[1:3]
    for seed in range(10):
        piece = cache.sample(np.random.default_rng(seed), 7, size)
        at = [int(np.argmin([np.abs(f - s.astype(int)).sum() for s in stored]))
              for f in piece.astype(int)]  # fmt: skip
        assert (np.abs(np.diff(at)) == 1).all()
    with pytest.raises(InputError, match="as large"):
        cache.sample(np.random.default_rng(0), 3, (4000, 4000))


def test_says_what_is_wrong_with_the_videos(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos"):
        ClipCache.build(tmp_path, tmp_path)
    with pytest.raises(InputError, match="no cache"):
        ClipCache(tmp_path)


def test_batches_belong_together_and_repeat(photographs: PairCache) -> None:
    data = TemporalData(photographs)
    low, high = data.sample(np.random.default_rng(3), 2, 4, 12)
    assert low.shape == (2, 4, 12, 12, 3)
    assert high.shape == (2, 4, 48, 48, 3)
    for one, other in zip(low.reshape(-1, 12, 12, 3), high.reshape(-1, 48, 48, 3),
                          strict=True):  # fmt: skip
        # The border of the patch alone needs pixels that were cut off.
        want = bicubic_down(other, 4)[2:-2, 2:-2]
        np.testing.assert_array_equal(one[2:-2, 2:-2], want)
    again = data.sample(np.random.default_rng(3), 2, 4, 12)
    np.testing.assert_array_equal(again[0], low)
    np.testing.assert_array_equal(again[1], high)


def test_batches_take_the_degradation_they_are_told(photographs: PairCache) -> None:
    bicubic = TemporalData(photographs).sample(np.random.default_rng(3), 1, 3, 12)
    real = TemporalData(photographs, degradation=RealConfig()).sample(
        np.random.default_rng(3), 1, 3, 12
    )
    np.testing.assert_array_equal(bicubic[1], real[1])
    assert np.abs(bicubic[0].astype(int) - real[0]).mean() > 1


def test_clips_of_the_training_pack_are_read(tmp_path: Path) -> None:
    source = reference("data/train_pack/video")
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in sorted(source.glob("*.mp4"))[:2]:
        (folder / path.name).symlink_to(path)
    cache = ClipCache.build(folder, tmp_path / "cache", most=6)
    assert len(cache.clips) == 2
    piece = cache.sample(np.random.default_rng(0), 6, (128, 128))
    assert piece.shape == (6, 128, 128, 3)
    assert piece.std() > 5
