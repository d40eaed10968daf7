"""Measure a recurrent model's scores by frame number for its page.

    python scripts/frame_curve.py mia-vsr-s --data ../shared/data/vid4
    python scripts/model_page.py mia-vsr-s

Clips of 13 frames as ordinary web video (protocol ``web``), forwards and backwards to
beyond frame 101, which shows what frame 5 shows. Writes a CSV file into
``recipes/logs``, whose first line is the protocol; ``model_page.py`` puts a table on
the page.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from upframe.evaluation.evaluate import evaluate

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "recipes" / "logs"
METRICS = ("psnr", "lpips", "checkerboard", "false_texture")
DISTINCT, COUNT = 13, 105
"""Frames of a clip, and frames that are run. The last few are compressed otherwise and
have no later frames to look at, so the curve goes a little beyond frame 101."""


def curve_file(name: str) -> Path:
    """Where the curve of a model is kept."""
    return LOGS / f"{name}-by-frame.csv"


def write_frames(
    file: Path, by_frame: Mapping[str, Sequence[float]], note: str
) -> None:
    """One row per frame number, from 1; scores that are not defined are empty."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# {note}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("frame", *by_frame))
        for number, row in enumerate(zip(*by_frame.values(), strict=True), 1):
            cells = ("" if math.isnan(v) else f"{v:.4f}" for v in row)
            writer.writerow((number, *cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--name", help="of the page; default: the model")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/vid4")
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    report = evaluate(
        model=args.model,
        data=args.data,
        protocol="web",
        metrics=args.metrics.split(","),
        frames=DISTINCT,
        by_frame=COUNT,
        threads=args.threads,
    )
    file = curve_file(args.name or report.model)
    write_frames(file, report.by_frame, report.settings)
    print(file)


if __name__ == "__main__":
    main()
