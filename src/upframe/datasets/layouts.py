"""Data sets in the folders that people have: BasicSR's, and plain ones.

``open_dataset`` finds the clips and reads no image. Layouts:

* ``reds``: ``train_sharp/000..269/00000000.png`` and perhaps
  ``train_sharp_bicubic/X4/...``; ``val_sharp/000..029`` counts as 240..269. The split
  ``val`` is REDS4 (000, 011, 015, 020), ``train`` is all the rest.
* ``vimeo90k``: ``sequences/00001/0266/im1..im7.png``, perhaps
  ``sequences_matlabLRx4/...`` or another folder beside it, and ``sep_trainlist.txt``
  and ``sep_testlist.txt`` for the splits ``train`` and ``val``.
* ``pairs``: ``gt/<clip>/*.png`` and perhaps ``lq/<clip>/*.png``, as Vid4, UDM10 and
  REDS4 are handed around; ``GT`` and ``BIx4``, ``BDx4`` or ``sharp_bicubic`` are
  understood, too. Instead of a folder of images a clip may be a video file, and
  instead of ``gt`` there may be ``gt.lmdb``.
* ``lmdb``: a folder as BasicSR writes it, see `upframe.datasets.lmdb_store`.
* ``folders``: ``<clip>/*.png``, several folders deep if need be; ``videos``: video
  files; ``pictures``: images that have nothing to do with each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from upframe.datasets.frames import Clip, FileFrames, Frames, VideoFrames
from upframe.datasets.images import SUFFIXES
from upframe.datasets.lmdb_store import is_lmdb, open_lmdb
from upframe.errors import InputError, UsageError

Layout = Literal["reds", "vimeo90k", "pairs", "lmdb", "folders", "videos", "pictures"]
Split = Literal["all", "train", "val"]

REDS4 = ("000", "011", "015", "020")
"""Clips of REDS's training part that the field tests on."""
VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})

_SPLIT = ("reds", "vimeo90k")
"""Layouts that know parts."""
_HIGH = ("gt", "hr")
_LOW = ("lq", "lr", "bix4", "sharp_bicubic", "bdx4")
"""Folder names in lower case; the first that is there counts."""
_VIMEO_LISTS = {"train": "sep_trainlist.txt", "val": "sep_testlist.txt"}


def find_layout(path: Path) -> Layout:
    """The layout of a data set, judged by the names in its folder.

    Raises:
        InputError: there is no such folder, or nothing of any layout in it.
    """
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return "videos"
    if not path.is_dir():
        raise InputError(f"{path} is no folder.", "Check the path of the data.")
    if is_lmdb(path):
        return "lmdb"
    if _child(path, _HIGH) is not None:
        return "pairs"
    if (path / "sequences").is_dir():
        return "vimeo90k"
    if _reds_root(path) is not None:
        return "reds"
    kinds = {p.suffix.lower() for p in path.iterdir() if p.is_file()}
    if kinds & VIDEO_SUFFIXES:
        return "videos"
    if kinds & SUFFIXES:
        return "pictures"
    if any(p.is_dir() for p in path.iterdir()):
        return "folders"
    raise InputError(
        f"{path} holds no videos, images or clips.", "Check the path of the data."
    )


def open_dataset(
    path: Path,
    layout: Layout | Literal["auto"] = "auto",
    *,
    split: Split = "all",
    low: Path | None = None,
    meta: Path | None = None,
) -> tuple[Clip, ...]:
    """The clips of a data set, sorted by name.

    Args:
        path: the folder; a video file is a data set of one clip.
        layout: one of the names above; ``auto`` to judge by what is in the folder.
        split: part of it, for layouts that know parts.
        low: folder or LMDB of the low-resolution side, where the layout does not say.
            A clip that it lacks has none.
        meta: BasicSR's ``meta_info_*.txt`` or one of Vimeo-90K's lists: only the clips
            that it names, and all the frames that it counts must be there.

    Raises:
        UsageError: no such layout, or it has no such split.
        InputError: nothing is there, or it does not fit together.
        MissingExtraError: a package that reads it is not installed.
    """
    if layout != "auto" and layout not in get_args(Layout):
        raise UsageError(
            f"There is no layout {layout!r}.",
            f"Use one of: auto, {', '.join(get_args(Layout))}.",
        )
    kind = find_layout(path) if layout == "auto" else layout
    if split != "all" and kind not in _SPLIT:
        raise UsageError(
            f"The layout {kind} of {path} has no split {split!r}.",
            "Only reds and vimeo90k have; leave the split away.",
        )
    highs, lows = _sides(path, kind)
    if low is not None:
        lows = _images(low) if kind == "pictures" else _side(low)
    if kind == "reds" and split != "all":
        highs = {k: v for k, v in highs.items() if (k in REDS4) == (split == "val")}
    if kind == "vimeo90k" and split != "all" and meta is None:
        meta = path / _VIMEO_LISTS[split]
    if meta is not None:
        highs = _named(highs, meta, path)
    if not highs:
        raise InputError(
            f"{path} holds no clips of this part.", "Check the path of the data."
        )
    if lows and not set(lows) & set(highs):
        raise InputError(
            f"The low-resolution side of {path} has none of its clips: it has "
            f"{next(iter(lows))}, not {next(iter(highs))}.",
            "Both sides must name their clips alike.",
        )
    for name in highs:
        _check(name, highs[name], lows.get(name))
    return tuple(Clip(name, highs[name], lows.get(name)) for name in sorted(highs))


def open_training(path: Path, split: Split | None = None) -> tuple[Clip, ...]:
    """Clips to train on: without those that the field tests on, where the layout tells.

    Args:
        path: as for :func:`open_dataset`.
        split: None for ``train`` where the layout knows parts, else ``all``.
    """
    layout = find_layout(path)
    if split is None:
        split = "train" if layout in _SPLIT else "all"
    return open_dataset(path, layout, split=split)


def open_footage(path: Path) -> tuple[Clip, ...]:
    """Clips without ground truth, sorted by name.

    Args:
        path: a video file; a folder or LMDB of clips; a folder with ``lq``. The
            images of one folder are one clip.

    Raises:
        InputError: there are none.
    """
    if path.is_file():
        lows = _videos(path)
    else:
        lows = _side((path.is_dir() and _child(path, _LOW)) or path)
    return tuple(Clip(name, None, lows[name]) for name in sorted(lows))


def _sides(
    path: Path, layout: Layout
) -> tuple[Mapping[str, Frames], Mapping[str, Frames]]:
    """High and low side, the latter empty where there is none."""
    if layout == "pairs":
        high, low = _child(path, _HIGH), _child(path, _LOW)
        if high is None:
            raise InputError(
                f"{path} has no folder gt.", "Put the clips in DIR/gt/<clip>/*.png."
            )
        return _side(high), _side(low) if low else {}
    if layout == "vimeo90k":
        found = [p for p in sorted(path.glob("sequences*LR*")) if p.is_dir()]
        return _folders(path / "sequences"), _folders(found[0]) if found else {}
    if layout == "reds":
        return _reds(path)
    if layout == "lmdb":
        return open_lmdb(path), {}
    if layout == "videos":
        return _videos(path), {}
    if layout == "pictures":
        return _images(path), {}
    return _folders(path), {}


def _side(path: Path) -> Mapping[str, Frames]:
    """The clips of one side by name: of an LMDB, or folders and videos, mixed if need
    be."""
    if is_lmdb(path):
        return open_lmdb(path)
    if not path.is_dir():
        raise InputError(f"{path} is no folder.", "Check the path of the data.")
    found: dict[str, Frames] = {}
    for video in path.iterdir():
        if video.suffix.lower() in VIDEO_SUFFIXES:
            found[video.stem] = VideoFrames(video)
    try:
        return {**found, **_folders(path)}
    except InputError:
        if not found:
            raise
        return found


def _videos(path: Path) -> Mapping[str, Frames]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    files = [p for p in files if p.suffix.lower() in VIDEO_SUFFIXES]
    if not files:
        raise InputError(f"{path} holds no videos.", "Check the path of the data.")
    return {file.name: VideoFrames(file) for file in files}


def _images(path: Path) -> Mapping[str, Frames]:
    files = _picture_files(path)
    if not files:
        raise InputError(f"{path} holds no images.", "Check the path of the data.")
    stems = [file.stem for file in files]
    return {
        (f.stem if stems.count(f.stem) == 1 else f.name): FileFrames((f,))
        for f in files
    }


def _folders(root: Path) -> dict[str, Frames]:
    """Images by the folder they lie in, named by its path below ``root``."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder.", "Check the path of the data.")
    found: dict[str, Frames] = {}
    for folder in sorted(path for path in (root, *root.rglob("*")) if path.is_dir()):
        if files := _picture_files(folder):
            name = folder.relative_to(root).as_posix()
            found[root.name if name == "." else name] = FileFrames(files)
    if not found:
        raise InputError(f"{root} holds no clips.", f"Put them in {root}/<clip>/*.png.")
    return found


def _picture_files(folder: Path) -> tuple[Path, ...]:
    """In the order of the numbers in their names: im10 comes after im9."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES]
    return tuple(sorted(files, key=lambda p: (_natural(p.name), p.name)))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(int(p), "") if k % 2 else (0, p) for k, p in enumerate(parts)]


def _reds_root(path: Path) -> Path | None:
    """The folder that holds ``train_sharp``: the data set's, or its ``train``."""
    for root in (path, path / "train"):
        if (root / "train_sharp").is_dir():
            return root
    return None


def _reds(path: Path) -> tuple[dict[str, Frames], dict[str, Frames]]:
    root = _reds_root(path)
    if root is None:
        raise InputError(
            f"{path} has no folder train_sharp.", "Name the folder of REDS."
        )
    high = _folders(root / "train_sharp")
    small = root / "train_sharp_bicubic" / "X4"
    low = _folders(small) if small.is_dir() else {}
    for part in (path, path / "val"):
        if not (part / "val_sharp").is_dir():
            continue
        small = part / "val_sharp_bicubic" / "X4"
        sides = [(high, part / "val_sharp")]
        if low and small.is_dir():
            sides.append((low, small))
        for side, folder in sides:
            # BasicSR's numbers for the official validation part.
            for name, frames in _folders(folder).items():
                side[f"{int(name) + 240:03d}" if name.isdigit() else name] = frames
    return high, low


def _child(path: Path, names: tuple[str, ...]) -> Path | None:
    """A folder inside, by the first of the names that is there, in any case."""
    there = {p.name.lower(): p for p in path.iterdir() if p.is_dir()}
    for name in names:
        for candidate in (name, f"{name}.lmdb"):
            if candidate in there:
                return there[candidate]
    return None


def _named(clips: Mapping[str, Frames], meta: Path, path: Path) -> dict[str, Frames]:
    """The clips that a list names.

    Lines are ``000 100 (720,1280,3)``, ``00001/0266 7 (256,448,3)``, ``00001/0266`` or,
    for single images, ``0001.png (480,480,3)``.
    """
    try:
        lines = meta.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{meta} cannot be read: {error}.", "It lists the clips of the part."
        ) from error
    found = {}
    for line in filter(str.strip, lines):
        words = line.split()
        name = words[0]
        stem = str(Path(name).with_suffix("")) if Path(name).suffix else name
        frames = clips.get(name, clips.get(stem))
        if frames is None:
            raise InputError(
                f"{meta} names {name}, which is not in {path}.",
                "Get the rest of the data set, or leave the line away.",
            )
        if len(words) > 1 and words[1].isdigit() and int(words[1]) != len(frames):
            raise InputError(
                f"{meta} counts {words[1]} frames of {name}, {path} has {len(frames)}.",
                "Get the rest of the data set.",
            )
        found[stem] = frames
    if not found:
        raise InputError(f"{meta} is empty.", "It lists the clips of the part.")
    return found


def _check(name: str, high: Frames, low: Frames | None) -> None:
    if low is None or len(low) == len(high):
        return
    gt, lq = ({Path(f.name(k)).stem for k in range(len(f))} for f in (high, low))
    lacks = [
        f"{side} lacks {', '.join(sorted(names)[:3])}"
        for side, names in (("gt", lq - gt), ("lq", gt - lq))
        if names
    ]
    raise InputError(
        f"Clip {name} has {len(high)} frames in gt and {len(low)} in lq: "
        f"{'; '.join(lacks)}.",
        "Both must hold the same frames.",
    )
