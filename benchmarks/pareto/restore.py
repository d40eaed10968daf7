"""Clips with real-world degradation: our models beside Real-ESRGAN's animevideov3.

    python scripts/degrade_clips.py ../shared/data/val_video/gt runs/val_real
    python -m benchmarks.pareto.restore --data runs/val_real

Prints a Markdown table of the means over the clips; scores are kept by hash as those
of ``python -m benchmarks.pareto``. ``--picture`` writes the same crop of one frame from
each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pareto.contenders import Contender, choose
from benchmarks.pareto.quality import (
    RULES,
    SCALE,
    Metrics,
    Quality,
    read_clips,
    score,
)
from benchmarks.pareto.sheet import contact_sheet

METRICS = ("psnr", "ssim", "lpips", "niqe", "ewarp")
NAMES = ("bicubic", "mia-vsr-s", "animevideov3", "mia-vsr-s-real")


def table(contenders: Sequence[Contender], qualities: Sequence[Quality]) -> list[str]:
    """Rows of means over the clips."""
    lines = [f"| | {' | '.join(METRICS)} |", f"| --- |{' --- |' * len(METRICS)}"]
    for one, quality in zip(contenders, qualities, strict=True):
        cells = " | ".join(f"{quality.mean[m]:.4f}" for m in METRICS)
        lines.append(f"| {one.label} | {cells} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("runs/val_real"))
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    clips = read_clips(args.data, args.frames)
    contenders = []
    for one in choose(args.only or NAMES):
        if reason := one.missing():
            print(f"left out: {one.label}: {reason}")
        else:
            contenders.append(one)
    metrics = Metrics(METRICS)
    qualities = [score(one, clips, metrics, args.threads) for one in contenders]
    print(f"\n{len(clips)} clips of {args.data}, {RULES.describe(SCALE, made=False)}\n")
    print("\n".join(table(contenders, qualities)))
    if args.picture is not None:
        clip = clips[0]
        panels = [
            (one.label, quality.sample(clip.name))
            for one, quality in zip(contenders, qualities, strict=True)
        ]
        panels.append(("ground truth", clip.high[clip.middle]))
        contact_sheet(panels, side=320).save(args.picture)


if __name__ == "__main__":
    main()
