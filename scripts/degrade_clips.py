"""Make a test set with real-world degradation from clean clips.

    python scripts/degrade_clips.py data/val_video/gt data/val_real --seed 0

Takes folders of frames and of videos; ``--frames`` takes the first ones of each clip.
Writes ``OUT/gt/<clip>/*.png`` (cropped to whole low-resolution pixels) and
``OUT/lq/<clip>/*.png``, which ``upframe evaluate --data OUT`` takes. Blur, noise, JPEG
and video compression walk slowly through each clip; the seed and the clip's place among
the sorted names decide them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from upframe.datasets.layouts import open_footage
from upframe.degradations.bicubic import crop_to_multiple
from upframe.degradations.ranges import RealConfig
from upframe.degradations.registry import degrade


def degrade_clips(
    clips: Path, out: Path, *, scale: int, seed: int, frames: int | None = None
) -> None:
    """Write both sides of all clips of a folder."""
    config = RealConfig(name="real", temporal="walk")
    for number, clip in enumerate(open_footage(clips)):
        assert clip.low is not None
        shown = clip.low.first(frames or len(clip))
        high = np.stack([crop_to_multiple(frame, scale) for frame in shown])
        low = degrade(config, high, scale, np.random.default_rng([seed, number]))
        for side, images in (("gt", high), ("lq", low)):
            place = out / side / clip.name
            place.mkdir(parents=True, exist_ok=True)
            for index, image in enumerate(images):
                name = Path(clip.low.name(index)).stem
                Image.fromarray(image).save(place / f"{name}.png")
        print(f"{clip.name}: {len(shown)} frames", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="default: all")
    args = parser.parse_args()
    degrade_clips(
        args.clips, args.out, scale=args.scale, seed=args.seed, frames=args.frames
    )


if __name__ == "__main__":
    main()
