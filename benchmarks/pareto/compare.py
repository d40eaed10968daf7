"""Contenders against each other in one run: quality, then time and memory in turns."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pareto.contenders import Contender
from benchmarks.pareto.cost import measure
from benchmarks.pareto.outcome import Entry, Outcome
from benchmarks.pareto.quality import (
    RULES,
    SCALE,
    LoadedClip,
    Quality,
    available,
    read_clips,
    score_all,
)

from upframe.errors import UpframeError
from upframe.evaluation.protocols import Protocol


@dataclass(frozen=True)
class Comparison:
    """A run, and what a contact sheet of it needs."""

    outcome: Outcome
    clips: Sequence[LoadedClip]
    qualities: Mapping[str, Quality]
    """Contender to its scores and samples."""


def compare(
    contenders: Sequence[Contender],
    *,
    data: Path,
    metrics: Sequence[str],
    frames: int,
    timed: int,
    rounds: int,
    threads: int,
    rules: Protocol = RULES,
) -> Comparison:
    """Measure contenders against each other.

    Args:
        contenders: to compare, those that are there.
        data: folder with ``gt/<clip>/*.png`` and maybe ``lq``.
        metrics: those that have their weights are computed.
        frames: of each clip that are scored.
        timed: frames of a session for time and memory.
        rounds: sessions of each that count.
        threads: CPU threads.
        rules: the protocol.

    Returns:
        Entries in the order of the contenders.

    Raises:
        UpframeError: there is no data, nobody is there, or one of them fails.
    """
    load = load_average()
    missing = {one.name: why for one in contenders if (why := one.missing())}
    there = [one for one in contenders if one.name not in missing]
    clips = read_clips(data, frames, rules)
    ready = available(metrics, missing, rules)
    qualities = {}
    for one, quality in zip(
        there, score_all(there, clips, ready, threads), strict=True
    ):
        print(f"quality: {one.name}", flush=True)
        if isinstance(quality, str):
            missing[one.name] = quality
        else:
            qualities[one.name] = quality
    for name, why in missing.items():
        print(f"left out: {name}: {why}", flush=True)
    there = [one for one in there if one.name in qualities]
    if not there:
        raise UpframeError("There is no model to compare.", "See what is left out.")
    session = clips[0].frames()[:timed]
    costs = measure(there, session, threads, rounds)
    height, width = session[0].shape[:2]
    names = ", ".join(clip.name for clip in clips)
    settings = {
        "data": f"{data.name}: {names}, {len(clips[0].high)} frames each",
        "protocol": rules.describe(SCALE, made=not (data / "lq").is_dir()),
        **ready.definitions,
        "time": f"median of {rounds} rounds in turns, sessions of {len(session)} "
        f"frames of {clips[0].name}, each in its own process",
        "input": f"{width}x{height}",
        "threads": threads,
        "machine": f"{processor()}, {datetime.date.today().isoformat()}; {load}",
    }
    entries = [
        Entry(
            name=one.name,
            label=one.label,
            ours=one.ours,
            runtime=_named(cost.runtime, one.precision()),
            params_m=round(cost.parameters / 1e6, 4),
            mean=_rounded(qualities[one.name].mean),
            clips={k: _rounded(v) for k, v in qualities[one.name].clips.items()},
            ms_per_frame=round(cost.ms_per_frame, 3),
            peak_mb=round(cost.peak_mb, 1),
        )
        for one, cost in zip(there, costs, strict=True)
    ]
    outcome = Outcome(settings, entries, missing, tuple(metrics))
    return Comparison(outcome, clips, qualities)


def _named(runtime: str, precision: str) -> str:
    return runtime if precision == "fp32" else f"{runtime}, {precision}"


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in scores.items()}


def load_average() -> str:
    """How busy others keep the machine: near 0 where they do not disturb."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    return f"load average {os.getloadavg()[0]:.1f} before the run"


def processor() -> str:
    """Name of the CPU, as Linux knows it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
