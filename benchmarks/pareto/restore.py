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

import numpy as np
from benchmarks.pareto.contenders import Contender, choose
from benchmarks.pareto.quality import RULES, SCALE, Shots, read_clips, score
from PIL import Image

from upframe.degradations.bicubic import to_uint8
from upframe.evaluation.scoring import Scoring

METRICS = ("psnr", "ssim", "lpips", "niqe", "ewarp")
NAMES = ("bicubic", "mia-vsr-s", "animevideov3", "mia-vsr-s-real")


def table(
    contenders: Sequence[Contender], clips: Sequence[Shots], threads: int
) -> list[str]:
    """Rows of means over the clips."""
    scoring = Scoring(METRICS, RULES, SCALE, None)
    lines = [f"| | {' | '.join(METRICS)} |", f"| --- |{' --- |' * len(METRICS)}"]
    for one in contenders:
        mean = score(one, clips, scoring, threads).mean
        lines.append(
            f"| {one.label} | {' | '.join(f'{mean[m]:.4f}' for m in METRICS)} |"
        )
        print(lines[-1], flush=True)
    return lines


def picture(
    contenders: Sequence[Contender], clip: Shots, side: int, threads: int
) -> Image.Image:
    """The middle of the middle frame from each contender, the ground truth last."""
    number = len(clip.high) // 2
    crops = []
    for one in contenders:
        session = one.open(threads).session()
        outputs = [out for frame in clip.frames() for out in session.push(frame)]
        crops.append(to_uint8((outputs + session.flush())[number]))
    crops.append(clip.high[number])
    top, left = (max(0, (n - side) // 2) for n in crops[-1].shape[:2])
    return Image.fromarray(
        np.concatenate([c[top : top + side, left : left + side] for c in crops], axis=1)
    )


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
    lines = table(contenders, clips, args.threads)
    print(f"\n{len(clips)} clips of {args.data}, {RULES.describe(SCALE, made=False)}\n")
    print("\n".join(lines))
    if args.picture is not None:
        picture(contenders, clips[0], 320, args.threads).save(args.picture)


if __name__ == "__main__":
    main()
