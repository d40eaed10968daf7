"""The cache of training pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upframe.datasets.images import read_image
from upframe.datasets.pairs import PairCache
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple
from upframe.degradations.gaussian import gaussian_down
from upframe.degradations.ranges import BDConfig, RealConfig
from upframe.errors import InputError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a", (50, 67)), ("b", (64, 48)), ("small", (20, 90))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def test_pairs_are_aligned_and_degraded_as_whole_pictures(
    pictures: Path, tmp_path: Path
) -> None:
    cache = PairCache.build(pictures, tmp_path / "cache", 4, 8)
    assert [pair.name for pair in cache.pairs] == ["a.png", "b.png"]
    for number, pair in enumerate(cache.pairs):
        low, high = cache.image(number)
        want = crop_to_multiple(read_image(pictures / pair.name), 4)
        np.testing.assert_array_equal(high, want)
        np.testing.assert_array_equal(low, bicubic_down(want, 4))


def test_patches_belong_together(tmp_path: Path) -> None:
    folder = tmp_path / "ramp"
    folder.mkdir()
    y, x = np.mgrid[:96, :96].astype(np.uint8)
    Image.fromarray(np.stack([x * 2, y * 2, x + y], -1)).save(folder / "ramp.png")
    cache = PairCache.build(folder, tmp_path / "cache", 4, 8)
    low, high = cache.sample(np.random.default_rng(0), 64, 8)
    assert low.shape == (64, 8, 8, 3)
    assert high.shape == (64, 32, 32, 3)
    means = high.reshape(64, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    assert np.abs(means - low)[:, 1:-1, 1:-1].max() < 6


def test_the_same_state_gives_the_same_patches(pictures: Path, tmp_path: Path) -> None:
    cache = PairCache.build(pictures, tmp_path / "cache", 4, 8)
    again = PairCache.build(pictures, tmp_path / "cache", 4, 8)
    first = cache.sample(np.random.default_rng([1, 7]), 5, 8)
    second = again.sample(np.random.default_rng([1, 7]), 5, 8)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_an_unfinished_cache_is_made_again(pictures: Path, tmp_path: Path) -> None:
    PairCache.build(pictures, tmp_path, 4, 8)
    (folder,) = tmp_path.glob("pairs-*")
    (folder / "index.json").unlink()
    (folder / "high.bin").write_bytes(b"cut off")
    assert len(PairCache.build(pictures, tmp_path, 4, 8).image(0)[1]) == 48


def test_says_what_is_wrong_with_the_data(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        PairCache.build(tmp_path / "absent", tmp_path, 4, 8)
    with pytest.raises(InputError, match="at least 800"):
        PairCache.build(pictures, tmp_path, 4, 200)
    (pictures / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        PairCache.build(pictures, tmp_path, 4, 8)


def test_bd_is_kept_and_does_not_mix_with_bicubic(
    pictures: Path, tmp_path: Path
) -> None:
    bicubic = PairCache.build(pictures, tmp_path / "cache", 4, 8)
    cache = PairCache.build(pictures, tmp_path / "cache", 4, 8, BDConfig())
    low, high = cache.image(0)
    np.testing.assert_array_equal(low, gaussian_down(high, 4))
    assert (low != bicubic.image(0)[0]).any()


def test_real_is_made_anew_for_each_patch_of_the_bicubic_cache(
    pictures: Path, tmp_path: Path
) -> None:
    bicubic = PairCache.build(pictures, tmp_path / "cache", 4, 8)
    cache = PairCache.build(pictures, tmp_path / "cache", 4, 8, RealConfig())
    assert len(list((tmp_path / "cache").glob("pairs-*"))) == 1
    first = cache.sample(np.random.default_rng([1, 7]), 3, 8)
    again = cache.sample(np.random.default_rng([1, 7]), 3, 8)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    plain = bicubic.sample(np.random.default_rng([1, 7]), 1, 8)
    np.testing.assert_array_equal(first[1][0], plain[1][0])
    assert (first[0][0] != plain[0][0]).any()


def test_several_folders_are_one_collection(pictures: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(more / "a.png")
    both = PairCache.build([pictures, more], tmp_path / "cache", 4, 8)
    assert [pair.name for pair in both.pairs] == ["a.png", "b.png", "a.png"]
    assert (both.image(2)[1] == 9).all()
    alone = PairCache.build([pictures], tmp_path / "cache", 4, 8)
    assert alone.folder == PairCache.build(pictures, tmp_path / "cache", 4, 8).folder
    assert alone.folder != both.folder
