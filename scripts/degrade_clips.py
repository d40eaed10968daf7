"""Make a test set with real-world degradation from clean clips.

    python scripts/degrade_clips.py ../shared/data/val_video/gt runs/val_real --seed 0

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

from upframe.datasets.pictures import list_pictures, read_picture
from upframe.degradations.bicubic import crop_to_multiple
from upframe.degradations.ranges import RealConfig
from upframe.degradations.registry import degrade


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = RealConfig(name="real", temporal="walk")
    folders = sorted(p for p in args.clips.iterdir() if p.is_dir())
    for number, folder in enumerate(folders):
        files = list_pictures(folder)
        high = np.stack([crop_to_multiple(read_picture(f), args.scale) for f in files])
        rng = np.random.default_rng([args.seed, number])
        low = degrade(config, high, args.scale, rng)
        for side, frames in (("gt", high), ("lq", low)):
            place = args.out / side / folder.name
            place.mkdir(parents=True, exist_ok=True)
            for file, frame in zip(files, frames, strict=True):
                Image.fromarray(frame).save(place / f"{file.stem}.png")
        print(f"{folder.name}: {len(files)} frames", flush=True)


if __name__ == "__main__":
    main()
