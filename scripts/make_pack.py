"""Make a training pack of a folder of photographs and videos.

    python scripts/make_pack.py ~/Pictures -o data
    upframe train recipes/mia-vsr-xs-still.yaml --data data

Subfolders are searched. In the output folder, recipes find

* ``train_pack/images``: photographs as PNG,
* ``train_pack/video/<clip>``: the first frames of each video as PNG,
* ``val_video/gt/<clip>``: the videos that are held out for validation,
* ``val_real/{gt,lq}/<clip>``: the same, degraded by ``scripts/degrade_clips.py``,
* ``train_pack/manifest.csv``: source and licence of each, for the credits.

``--reduce 2`` halves both sides, which removes most traces of JPEG and video
compression: a network learns to restore what the ground truth shows.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from degrade_clips import degrade_clips
from PIL import Image

from upframe.datasets.images import SUFFIXES, ImageArray, read_image
from upframe.datasets.layouts import open_footage
from upframe.degradations.bicubic import to_uint8
from upframe.nn.resize import imresize

VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})


def reduced(frame: ImageArray, by: int) -> ImageArray:
    """The frame with both sides divided, by MATLAB's bicubic."""
    if by == 1:
        return frame
    height, width = (side - side % by for side in frame.shape[:2])
    return to_uint8(imresize(frame[:height, :width] / 255.0, 1 / by))


def found(sources: list[Path], out: Path) -> list[Path]:
    """All files below the sources, without those of an earlier pack."""
    files = [f for s in sources for f in (sorted(s.rglob("*")) if s.is_dir() else [s])]
    return [f for f in files if f.is_file() and not f.is_relative_to(out)]


def write(frame: ImageArray, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="SOURCE")
    parser.add_argument("-o", "--out", type=Path, default=Path("data"))
    parser.add_argument("--reduce", type=int, default=1, choices=(1, 2, 3, 4))
    parser.add_argument("--smallest", type=int, default=128, help="shorter side kept")
    parser.add_argument("--frames", type=int, default=32, help="of each video")
    parser.add_argument("--val", type=int, default=4, help="most videos held out")
    parser.add_argument("--licence", default="own work", help="for the manifest")
    args = parser.parse_args()

    files = found(args.sources, args.out)
    videos = [f for f in files if f.suffix.lower() in VIDEOS]
    held_out = set(videos[:: max(2, len(videos) // max(1, args.val))][: args.val])
    if len(videos) < 2:
        held_out = set()
    pack, val = args.out / "train_pack", args.out / "val_video" / "gt"
    rows: list[tuple[str, int, int, int, str, str]] = []
    skipped = 0

    def keep(
        frames: list[ImageArray], place: Path, source: Path, *, clip: bool
    ) -> None:
        nonlocal skipped
        if min(frames[0].shape[:2]) < args.smallest:
            skipped += 1
            return
        for number, frame in enumerate(frames):
            write(frame, place / f"{number:06d}.png" if clip else place)
        height, width = frames[0].shape[:2]
        name = place.relative_to(args.out).as_posix()
        rows.append((name, width, height, len(frames), str(source), args.licence))

    for number, file in enumerate(f for f in files if f.suffix.lower() in SUFFIXES):
        image = reduced(read_image(file), args.reduce)
        place = pack / "images" / f"{number:05d}_{file.stem}.png"
        keep([image], place, file, clip=False)
    for number, file in enumerate(videos):
        (clip,) = open_footage(file)
        assert clip.low is not None
        frames = [reduced(f, args.reduce) for f in clip.low.first(args.frames)]
        folder = val if file in held_out else pack / "video"
        keep(frames, folder / f"{number:05d}_{file.stem}", file, clip=True)
    if not rows:
        raise SystemExit(
            f"No photographs or videos of {args.smallest} pixels and more in "
            f"{', '.join(map(str, args.sources))}."
        )
    if val.is_dir():
        degrade_clips(val, args.out / "val_real", scale=4, seed=0)
    pack.mkdir(parents=True, exist_ok=True)
    with (pack / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", "width", "height", "frames", "source", "licence"))
        table.writerows(rows)
    sides = np.array([row[1:3] for row in rows])
    print(
        f"{args.out}: {len(rows)} photographs and clips, {len(held_out)} of them held "
        f"out, {skipped} too small; median {np.median(sides[:, 0]):.0f}x"
        f"{np.median(sides[:, 1]):.0f}"
    )


if __name__ == "__main__":
    main()
