"""UltraVSR-nano and OASIS-nano beside bicubic and Real-ESRGAN's animevideov3.

Everything of ``python -m benchmarks.systems`` is taken over: clips, protocol, metrics,
and its scores, which are kept by hash; so this takes no time after it.
"""

from __future__ import annotations

from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.findings import Finding, Verdict
from benchmarks.pareto.quality import (
    RULES,
    SCALE,
    Quality,
    available,
    read_clips,
    score,
)
from benchmarks.systems.run import DATA, FRAMES, METRICS, contenders

from upframe.errors import InputError, WeightsError

OURS = ("ultravsr-nano", "oasis-nano")
_BASE, _PEER = "bicubic", "animevideov3"


def beside_others(bench: Bench) -> Finding:
    """LPIPS and DISTS against bicubic, and where they stand against a known peer."""
    if not DATA.is_dir():
        raise InputError(f"There are no clips in {DATA}.", "See benchmarks.systems.")
    sources = {name: bench.weights.source(name) for name in OURS}
    clips = read_clips(DATA, FRAMES)
    metrics = available(METRICS, {})
    taken = [m for m in ("lpips", "dists") if m in metrics.names]
    qualities: dict[str, Quality] = {}
    for one in contenders((_BASE, _PEER, *OURS), sources):
        if reason := one.missing():
            if one.name in OURS:
                raise WeightsError(reason, "Give a weight file as it ships.")
            continue
        qualities[one.name] = score(one, clips, metrics, threads=2)
    rows = {
        name: {metric.upper(): quality.mean[metric] for metric in taken}
        for name, quality in qualities.items()
    }
    return Finding(
        "UltraVSR and OASIS beside bicubic and Real-ESRGAN's animevideov3",
        f"{FRAMES} frames of {', '.join(clip.name for clip in clips)} of {DATA.name}, "
        f"{RULES.describe(SCALE, made=False)}",
        rows,
        [
            _beats(name, other, rows)
            for other in (_BASE, _PEER)
            for name in OURS
            if other in rows
        ],
    )


def _beats(name: str, other: str, rows: dict[str, dict[str, float]]) -> Verdict:
    mine, theirs = rows[name], rows[other]
    numbers = ", ".join(f"{m} {mine[m]:.3f} against {theirs[m]:.3f}" for m in mine)
    return Verdict(
        f"{name} beats {other}: {numbers}", all(mine[m] < theirs[m] for m in mine)
    )
