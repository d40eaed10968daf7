"""Upscale the demo clip with the default preset, and put it beside bicubic.

    python scripts/demo.py [FOLDER]

Writes FOLDER/clip_x4.mp4 and FOLDER/side-by-side.png, and says how fast it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import upframe
from upframe.media.colour import Pixels
from upframe.media.images import ImageEncoder, move_single
from upframe.media.source import FileSource
from upframe.nn.resize import imresize

CLIP = Path(__file__).resolve().parent.parent / "assets" / "demo" / "clip.mp4"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "clip_x4.mp4"
    report = upframe.upscale(CLIP, video, overwrite=True, fresh=True)
    image = folder / "side-by-side.png"
    write_png(image, side_by_side(CLIP, video))
    print(f"video    {video}  ({report.width}x{report.height})")
    print(f"image    {image}  (left: bicubic, right: {report.model})")
    print(
        f"speed    {report.frames_out} frames in {report.seconds:.1f} s, "
        f"{report.fps:.1f} frames per second with {report.model} on {report.device}"
    )
    for warning in report.warnings:
        print(f"note     {warning}")


def side_by_side(low: Path, high: Path, *, frame: int = 12) -> Pixels:
    """One frame twice: the input upscaled by bicubic, and the result."""
    small, large = _frame(low, frame), _frame(high, frame)
    height, width = large.shape[:2]
    bicubic = imresize(small.astype(np.float32), size=(height, width))
    left = np.clip(np.rint(bicubic), 0, 255).astype(np.uint8)
    gap = np.full((height, 8, 3), 255, np.uint8)
    return np.concatenate([left, gap, large], axis=1)


def _frame(path: Path, number: int) -> Pixels:
    source = FileSource(path)
    for index, frame in enumerate(source):
        if index == number:
            source.close()
            return frame.pixels
    raise SystemExit(f"{path} has no frame {number}")


def write_png(path: Path, pixels: Pixels) -> None:
    work = path.with_suffix(".tmp")
    encoder = ImageEncoder(work, ".png", deep=False, alpha=False)
    encoder.write(pixels, path.stem)
    move_single(work, path)
    work.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
