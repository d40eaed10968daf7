"""The comparison: ``python -m benchmarks.pareto``, from the root of the repository.

Quality on the clips of ``--data`` (``gt/<clip>/*.png``; low resolution by MATLAB's
bicubic), then time and memory on the first frames of the first clip, everyone taking
turns. Scores are kept by hash in ``.cache``: a second run only measures time and
memory. Set peers up with ``python -m benchmarks.pareto.fetch``; those that are not
there are named and left out.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pareto.contenders import Contender, choose
from benchmarks.pareto.cost import measure
from benchmarks.pareto.outcome import Entry, Outcome, draw
from benchmarks.pareto.quality import (
    RULES,
    SCALE,
    read_clips,
    score,
)

from upframe.errors import MissingExtraError, UpframeError, WeightsError
from upframe.evaluation.scoring import Scoring

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
PLOT = ROOT / "docs" / "images" / "pareto.png"


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
            frames=options.frames,
            timed=options.timed,
            rounds=options.rounds,
            threads=options.threads,
        )
    except UpframeError as error:
        sys.exit(str(error))
    options.results.mkdir(parents=True, exist_ok=True)
    table = outcome.to_markdown()
    (options.results / "pareto.json").write_text(outcome.to_json(), encoding="utf-8")
    (options.results / "pareto.md").write_text(table, encoding="utf-8")
    draw(outcome, options.plot)
    print(table)
    print(f"Written: {options.results}/pareto.json, pareto.md; {options.plot}")


def compare(
    contenders: Sequence[Contender],
    *,
    data: Path,
    frames: int,
    timed: int,
    rounds: int,
    threads: int,
) -> Outcome:
    """Measure contenders against each other.

    Args:
        contenders: who takes part, if it is there.
        data: folder with ``gt/<clip>/*.png``.
        frames: of each clip that are scored.
        timed: frames of a session for time and memory.
        rounds: sessions of each that count.
        threads: CPU threads.

    Raises:
        UpframeError: there is no data, nobody is there, or one of them fails.
    """
    load = _load()
    missing = {one.name: why for one in contenders if (why := one.missing())}
    there = [one for one in contenders if one.name not in missing]
    clips = read_clips(data, frames)
    metrics = _metrics(missing)
    qualities = {}
    for one in there:
        print(f"quality: {one.name}", flush=True)
        try:
            qualities[one.name] = score(one, clips, metrics, threads)
        except UpframeError as error:
            missing[one.name] = str(error)
    for name, why in missing.items():
        print(f"left out: {name}: {why}", flush=True)
    there = [one for one in there if one.name in qualities]
    if not there:
        raise UpframeError("Nobody takes part.", "See what is left out.")
    session = clips[0].frames()[:timed]
    costs = measure(there, session, threads, rounds)
    height, width = session[0].shape[:2]
    names = ", ".join(clip.name for clip in clips)
    settings = {
        "data": f"{data.name}: {names}, {len(clips[0].high)} frames each",
        "protocol": RULES.describe(SCALE, made=not (data / "lq").is_dir()),
        **metrics.definitions,
        "time": f"median of {rounds} rounds in turns, sessions of {len(session)} "
        f"frames of {clips[0].name}, each in its own process",
        "input": f"{width}x{height}",
        "threads": threads,
        "machine": f"{_processor()}, {datetime.date.today().isoformat()}; {load}",
    }
    entries = [
        Entry(
            name=one.name,
            label=one.label,
            ours=one.ours,
            runtime=cost.runtime,
            params_m=round(cost.parameters / 1e6, 4),
            mean=_rounded(qualities[one.name].mean),
            clips={k: _rounded(v) for k, v in qualities[one.name].clips.items()},
            ms_per_frame=round(cost.ms_per_frame, 3),
            peak_mb=round(cost.peak_mb, 1),
        )
        for one, cost in zip(there, costs, strict=True)
    ]
    entries.sort(key=lambda entry: entry.ms_per_frame)
    return Outcome(settings, entries, missing)


def _metrics(missing: dict[str, str]) -> Scoring:
    """All of them, or, with an entry in ``missing``, those that need no weights."""
    names = ("psnr", "ssim", "lpips", "tof")
    try:
        return Scoring(names, RULES, SCALE)
    except (WeightsError, MissingExtraError) as error:
        missing["lpips"] = str(error)
        return Scoring([name for name in names if name != "lpips"], RULES, SCALE)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in scores.items()}


def _load() -> str:
    """How busy others keep the machine: near 0 where they do not disturb."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    return f"load average {os.getloadavg()[0]:.1f} before the run"


def _processor() -> str:
    """Name of the CPU, as Linux knows it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
