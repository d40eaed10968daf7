"""Data sets as people have them, in miniature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from upframe.datasets.clips import ClipCache
from upframe.datasets.layouts import find_layout, open_dataset
from upframe.datasets.lmdb_store import open_lmdb
from upframe.datasets.pairs import PairCache
from upframe.errors import InputError, UsageError
from upframe.media.source import FileSource


def picture(seed: int, size: tuple[int, int] = (32, 48)) -> Image.Image:
    """Every picture has a colour of its own."""
    rng = np.random.default_rng(seed)
    return Image.new("RGB", size[::-1], tuple(rng.integers(0, 256, 3).tolist()))


def write(folder: Path, names: Iterable[str], size: tuple[int, int] = (32, 48)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        picture(number, size).save(folder / name)


def numbered(count: int) -> list[str]:
    return [f"{k:08d}.png" for k in range(count)]


def septuplet() -> list[str]:
    return [f"im{k}.png" for k in range(1, 8)]


def reds(root: Path) -> Path:
    for clip in ("000", "001", "011", "015", "020", "265"):
        write(root / "train_sharp" / clip, numbered(3))
        write(root / "train_sharp_bicubic/X4" / clip, numbered(3), (8, 12))
    return root


def vimeo(root: Path) -> Path:
    for clip in ("00001/0001", "00001/0266", "00002/0003"):
        write(root / "sequences" / clip, septuplet())
    (root / "sep_trainlist.txt").write_text("00001/0001\n00002/0003\n")
    (root / "sep_testlist.txt").write_text("00001/0266\n\n")
    return root


def write_lmdb(folder: Path, names: list[str], skip: str = "") -> Path:
    """As BasicSR's ``make_lmdb_from_imgs`` does."""
    lines = []
    with lmdb.open(str(folder), map_size=1 << 22) as environment:
        for number, name in enumerate(names):
            content = BytesIO()
            picture(number).save(content, "PNG")
            lines.append(f"{name} (32,48,3) 1\n")
            if name != skip:
                with environment.begin(write=True) as transaction:
                    transaction.put(name.rsplit(".", 1)[0].encode(), content.getvalue())
    (folder / "meta_info.txt").write_text("".join(lines))
    return folder


def test_reds_with_the_split_of_the_field(tmp_path: Path) -> None:
    root = reds(tmp_path)
    assert find_layout(root) == "reds"
    val = open_dataset(root, split="val")
    assert [clip.name for clip in val] == ["000", "011", "015", "020"]
    train = open_dataset(root, split="train")
    assert [clip.name for clip in train] == ["001", "265"]
    low, high = val[0].read(1, 4)
    assert high is not None
    assert (low.shape, high.shape) == ((8, 12, 3), (32, 48, 3))
    np.testing.assert_array_equal(high, np.asarray(picture(1)))


def test_the_validation_part_of_reds_is_numbered_on(tmp_path: Path) -> None:
    reds(tmp_path / "train").rename(tmp_path / "t")
    (tmp_path / "t").rename(tmp_path / "train")
    write(tmp_path / "val/val_sharp/002", numbered(3))
    write(tmp_path / "val/val_sharp_bicubic/X4/002", numbered(3), (8, 12))
    clips = {clip.name: clip for clip in open_dataset(tmp_path)}
    assert list(clips)[-2:] == ["242", "265"]
    assert clips["242"].low is not None


def test_vimeo90k_by_its_lists(tmp_path: Path) -> None:
    root = vimeo(tmp_path)
    assert find_layout(root) == "vimeo90k"
    assert [c.name for c in open_dataset(root, split="val")] == ["00001/0266"]
    train = open_dataset(root, split="train")
    assert [c.name for c in train] == ["00001/0001", "00002/0003"]
    assert (len(train[0]), train[0].low) == (7, None)
    assert len(open_dataset(root)) == 3
    fast = root / "sep_fast_testset.txt"
    fast.write_text("00002/0003\n")
    assert [c.name for c in open_dataset(root, meta=fast)] == ["00002/0003"]
    small = root / "sequences_matlabLRx4/00002/0003"
    write(small, septuplet(), (8, 12))
    (clip,) = open_dataset(root, meta=fast)
    assert clip.read(3, 4)[0].shape == (8, 12, 3)


def test_vid4_as_basicsr_has_it(tmp_path: Path) -> None:
    write(tmp_path / "GT/calendar", numbered(4))
    write(tmp_path / "BIx4/calendar", numbered(4), (8, 12))
    write(tmp_path / "BDx4/calendar", numbered(3), (8, 12))
    (clip,) = open_dataset(tmp_path)
    assert clip.low is not None
    assert "BIx4" in clip.low.where(0)
    (tmp_path / "GT/calendar/00000002.png").unlink()
    with pytest.raises(InputError, match=r"3 frames in gt and 4 in lq: gt lacks 0+2"):
        open_dataset(tmp_path)


def test_frames_go_by_their_numbers(tmp_path: Path) -> None:
    write(tmp_path / "a", [f"im{k}.png" for k in range(1, 12)])
    (clip,) = open_dataset(tmp_path)
    assert clip.high is not None
    assert [clip.high.name(k) for k in (0, 1, 9, 10)] == [
        "im1.png",
        "im2.png",
        "im10.png",
        "im11.png",
    ]


def test_meta_info_must_agree_with_the_folder(tmp_path: Path) -> None:
    root, meta = reds(tmp_path), tmp_path / "meta_info_REDS_GT.txt"
    meta.write_text("001 3 (32,48,3)\n265 3 (32,48,3)\n")
    assert [clip.name for clip in open_dataset(root, meta=meta)] == ["001", "265"]
    meta.write_text("001 100 (32,48,3)\n")
    with pytest.raises(InputError, match=r"counts 100 frames of 001, .* has 3"):
        open_dataset(root, meta=meta)
    meta.write_text("007 100 (32,48,3)\n")
    with pytest.raises(InputError, match="names 007, which is not in"):
        open_dataset(root, meta=meta)
    meta.write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        open_dataset(root, meta=meta)
    with pytest.raises(InputError, match="cannot be read"):
        open_dataset(root, meta=tmp_path / "absent.txt")


def test_lmdb_of_clips_and_of_pictures(tmp_path: Path) -> None:
    names = [f"{clip}/{name}" for clip in ("000", "001") for name in numbered(2)]
    folder = write_lmdb(tmp_path / "reds.lmdb", names)
    assert find_layout(folder) == "lmdb"
    clips = open_dataset(folder)
    assert [(c.name, len(c)) for c in clips] == [("000", 2), ("001", 2)]
    _, high = clips[1].read(1, 4)
    np.testing.assert_array_equal(high, np.asarray(picture(3)))
    again = open_dataset(folder)  # while it is open
    assert again[0].where(1) == f"000/00000001 of {folder}"
    single = write_lmdb(tmp_path / "div2k.lmdb", ["0001_s001.png", "0001_s002.png"])
    meta = tmp_path / "meta_info_DIV2K.txt"
    meta.write_text("0001_s002.png (32,48,3)\n")
    assert [c.name for c in open_dataset(single)] == ["0001_s001", "0001_s002"]
    assert [c.name for c in open_dataset(single, meta=meta)] == ["0001_s002"]


def test_lmdb_on_both_sides(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "GT.lmdb", ["a/0.png", "a/1.png"])
    write(tmp_path / "small/a", ["0.png", "1.png"], (8, 12))
    (clip,) = open_dataset(tmp_path, low=tmp_path / "small")
    assert clip.read(0, 4)[0].shape == (8, 12, 3)
    (tmp_path / "small/a").rename(tmp_path / "small/b")
    with pytest.raises(InputError, match="none of its clips: it has b, not a"):
        open_dataset(tmp_path, low=tmp_path / "small")


def test_lmdb_that_is_damaged(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "a.lmdb", numbered(40), skip="00000003.png")
    clips = open_dataset(folder)
    with pytest.raises(InputError, match="no image 00000003"):
        clips[3].read(0, 4)
    del clips
    data = folder / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is cut off"):
        open_lmdb(folder)
    data.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="cannot be opened as LMDB"):
        open_lmdb(folder)
    (folder / "meta_info.txt").write_text("\n")
    data.write_bytes(whole)
    with pytest.raises(InputError, match="is empty"):
        open_lmdb(folder)
    (folder / "meta_info.txt").unlink()
    with pytest.raises(InputError, match=r"meta_info\.txt or data\.mdb is missing"):
        open_lmdb(folder)


def test_videos_are_decoded_when_they_are_asked_for(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    path = clip("videos/in.mkv", frames=6)
    want = [frame.pixels for frame in FileSource(path)]
    for data in (path, tmp_path / "videos"):
        (video,) = open_dataset(data)
        assert video.high is not None
        assert len(video) == 6
        for number in (0, 1, 4, 2, 0):
            np.testing.assert_array_equal(video.high[number], want[number])
    (tmp_path / "gt").mkdir()
    path.rename(tmp_path / "gt/a.mkv")
    assert [(c.name, len(c)) for c in open_dataset(tmp_path)] == [("a", 6)]


def test_training_takes_these_data_sets(tmp_path: Path) -> None:
    root = reds(tmp_path / "reds")
    cache = ClipCache.build(root, tmp_path / "cache", most=2)  # without REDS4
    assert cache.names == ["001", "265"]
    assert [c.shape for c in cache.clips] == [(2, 32, 48, 3)] * 2
    names = numbered(3)
    folder = write_lmdb(tmp_path / "div2k.lmdb", names)
    pairs = PairCache.build(folder, tmp_path / "cache", 4, 8)
    assert [pair.name for pair in pairs.pairs] == [name[:-4] for name in names]
    np.testing.assert_array_equal(pairs.image(2)[1], np.asarray(picture(2)))
    frames = PairCache.build(root, tmp_path / "cache", 4, 8, split="val")
    assert len(frames.pairs) == 12
    assert frames.pairs[5].name == "011/00000002.png"


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos, images or clips"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(UsageError, match="no layout 'redds'"):
        open_dataset(tmp_path, "redds")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no folder train_sharp"):
        open_dataset(tmp_path, "reds")
    with pytest.raises(InputError, match="no folder gt"):
        open_dataset(tmp_path, "pairs")
    write(tmp_path, ["a.png", "b.png"])
    with pytest.raises(UsageError, match="has no split 'val'"):
        open_dataset(tmp_path, split="val")
    with pytest.raises(InputError, match="no videos, but single images"):
        ClipCache.build(tmp_path, tmp_path)
    write(tmp_path / "clips/a", ["0.png"])
    write(tmp_path / "clips/a", ["1.png"], (8, 8))
    with pytest.raises(InputError, match="differ in size"):
        ClipCache.build(tmp_path / "clips", tmp_path)


def test_pictures_and_caches_need_no_pyav(tmp_path: Path) -> None:
    reds(tmp_path)
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from pathlib import Path\n"
        "from upframe.datasets.clips import ClipCache\n"
        "from upframe.datasets.pairs import PairCache\n"
        f"root = Path({str(tmp_path)!r})\n"
        "ClipCache.build(root, root / 'cache')\n"
        "PairCache.build(root, root / 'cache', 4, 8)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
