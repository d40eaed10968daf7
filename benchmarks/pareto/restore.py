"""Ordinary web video: our models beside those that others use for it.

    python -m benchmarks.pareto.restore [--data ../shared/data/vid4] [--frames 8]

The protocol ``web``: bicubic, then H.264 at two CRFs, each a clip of its own; no
training used this degradation. Prints a Markdown table of the means over the clips;
scores are kept by hash as those of ``python -m benchmarks.pareto``. ``--sheet`` writes
the same crop of one frame from each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pareto.contenders import Contender, choose
from benchmarks.pareto.quality import (
    SCALE,
    WEB,
    Quality,
    available,
    read_clips,
    score,
)
from benchmarks.pareto.sheet import contact_sheet

METRICS = ("psnr", "lpips", "dists", "checkerboard", "false_texture", "ewarp")
NAMES = ("bicubic", "mia-vsr-s", "animevideov3", "ditn-real-gan", "mia-vsr-s-real")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "vid4"


def table(contenders: Sequence[Contender], qualities: Sequence[Quality]) -> list[str]:
    """Rows of means over the clips."""
    names = list(qualities[0].mean)
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for one, quality in zip(contenders, qualities, strict=True):
        cells = " | ".join(f"{quality.mean[m]:.4f}" for m in names)
        lines.append(f"| {one.label} | {cells} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    clips = read_clips(args.data, args.frames, WEB)
    contenders = []
    for one in choose(args.only or NAMES):
        if reason := one.missing():
            print(f"left out: {one.label}: {reason}")
        else:
            contenders.append(one)
    missing: dict[str, str] = {}
    metrics = available(METRICS, missing, WEB)
    for name, why in missing.items():
        print(f"left out: {name}: {why}")
    qualities = [score(one, clips, metrics, args.threads) for one in contenders]
    print(f"\n{len(clips)} clips of {args.data}, {WEB.describe(SCALE, made=True)}\n")
    print("\n".join(table(contenders, qualities)))
    if args.sheet is not None:
        clip = clips[0]
        panels = [
            (one.label, quality.sample(clip.name))
            for one, quality in zip(contenders, qualities, strict=True)
        ]
        panels.append(("ground truth", clip.high[clip.middle]))
        contact_sheet(panels, side=320).save(args.sheet)


if __name__ == "__main__":
    main()
