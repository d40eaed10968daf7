"""The comparison: ``python -m benchmarks.pareto``, from the root of the repository.

Quality on the clips of ``--data`` (``gt/<clip>/*.png``; low resolution by MATLAB's
bicubic), then time and memory on the first frames of the first clip, everyone taking
turns. Scores are kept by hash in ``.cache``: a second run only measures time and
memory. Set peers up with ``python -m benchmarks.pareto.fetch``; those that are not
there are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.pareto.compare import compare
from benchmarks.pareto.contenders import choose
from benchmarks.pareto.plot import draw

from upframe.errors import UpframeError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
PLOT = ROOT / "docs" / "images" / "pareto.png"
METRICS = ("psnr", "ssim", "lpips", "tof")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pareto", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/vid4")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument(
        "--frames", type=int, default=24, help="frames of each clip that are scored"
    )
    parser.add_argument(
        "--timed", type=int, default=8, help="frames of a session that is timed"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args(arguments)
    try:
        outcome = compare(
            choose(options.only),
            data=options.data,
            metrics=METRICS,
            frames=options.frames,
            timed=options.timed,
            rounds=options.rounds,
            threads=options.threads,
        ).outcome
    except UpframeError as error:
        sys.exit(str(error))
    by_time = sorted(outcome.entries, key=lambda entry: entry.ms_per_frame)
    outcome = replace(outcome, entries=by_time)
    options.results.mkdir(parents=True, exist_ok=True)
    table = outcome.to_markdown()
    (options.results / "pareto.json").write_text(outcome.to_json(), encoding="utf-8")
    (options.results / "pareto.md").write_text(table, encoding="utf-8")
    draw(outcome, options.plot)
    print(table)
    print(f"Written: {options.results}/pareto.json, pareto.md; {options.plot}")
