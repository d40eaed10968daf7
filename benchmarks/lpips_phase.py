"""How far networks exploit the strides of LPIPS's AlexNet.

    python -m benchmarks.lpips_phase mia-vsr-s-real ultravsr-nano

Its first layer looks at every 4th pixel from the corner on. LPIPS of the same frames
without their first 0 to 4 rows and columns should differ only by noise. Where it is
lowest with 0, the network draws checkerboard artifacts that the metric rewards. Prints
LPIPS by rows and columns that were cut off, and how much lower 0 is than the mean of 1
to 3. The clips are those of ``python -m benchmarks.diffusion``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean

import torch
from benchmarks.diffusion.clips import read_cropped, restored
from benchmarks.diffusion.run import DATA
from benchmarks.diffusion.weights import Weights

from upframe.errors import UpframeError
from upframe.metrics.files import find_file
from upframe.metrics.lpips import FILE
from upframe.training.features import LPIPSDistance

CUTS = range(5)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="names, weight files, checkpoints")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--frames", type=int, default=3, help="of each clip")
    options = parser.parse_args()
    try:
        lpips = LPIPSDistance(find_file(FILE, "LPIPS"))
        clips = read_cropped(options.data, options.frames, (96, 72))
        print("| | " + " | ".join(map(str, CUTS)) + " | 0 lower by |")
        print("| --- |" + " ---: |" * (len(CUTS) + 1))
        for name in options.models:
            network = Weights({name: name}).network(name)
            pairs = [
                [torch.from_numpy(x).permute(0, 3, 1, 2) / 255 for x in each]
                for each in ((restored(network, one), one.high) for one in clips)
            ]
            scores = [
                fmean(float(lpips(a[..., n:, n:], b[..., n:, n:])) for a, b in pairs)
                for n in CUTS
            ]
            cells = " | ".join(f"{score:.4f}" for score in scores)
            print(f"| {name} | {cells} | {fmean(scores[1:4]) - scores[0]:.4f} |")
    except UpframeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
