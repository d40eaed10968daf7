"""UltraVSR-nano and OASIS-nano against bicubic and Real-ESRGAN's animevideov3.

Clips, protocol, metrics and scores are those of ``python -m benchmarks.systems``. Its
scores are kept by hash, so this takes no time after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.diffusion.bench import MARGINS, Bench
from benchmarks.diffusion.report import Result, Verdict, lower, no_worse
from benchmarks.pareto.quality import SCALE, WEB, Quality, available, read_clips, score
from benchmarks.systems.run import DATA, FRAMES, METRICS, contenders

from upframe.errors import InputError, WeightsError

OURS = ("ultravsr-nano", "oasis-nano")
_BASE, _PEER = "bicubic", "animevideov3"
_COLUMNS = ("lpips", "dists", "checkerboard")
_CHECKERBOARD = 1.0
"""Decibels that a model may have more of it than the other and still be better."""


def against_others(bench: Bench) -> Result:
    """LPIPS, DISTS and checkerboards against bicubic and a known peer."""
    if not DATA.is_dir():
        raise InputError(f"There are no clips in {DATA}.", "See benchmarks.systems.")
    sources = {name: bench.weights.source(name) for name in OURS}
    clips = read_clips(DATA, FRAMES, WEB)
    metrics = available(METRICS, {}, WEB)
    qualities: dict[str, Quality] = {}
    for one in contenders((_BASE, _PEER, *OURS), sources):
        if reason := one.missing():
            if one.name in OURS:
                raise WeightsError(reason, "Give a weight file as it ships.")
            continue
        qualities[one.name] = score(one, clips, metrics, threads=2)
    columns = [name for name in _COLUMNS if name in metrics.names]
    return Result(
        "UltraVSR and OASIS against bicubic and Real-ESRGAN's animevideov3",
        f"{FRAMES} frames of {', '.join(clip.name for clip in clips)}, each a subset; "
        f"{WEB.describe(SCALE, made=True)}",
        {
            name: {column: quality.mean[column] for column in columns}
            for name, quality in qualities.items()
        },
        [
            verdict
            for other in (_BASE, _PEER)
            if other in qualities
            for name in OURS
            for verdict in _compared(name, other, qualities, columns)
        ],
    )


def _compared(
    name: str, other: str, qualities: Mapping[str, Quality], columns: list[str]
) -> list[Verdict]:
    """Better in both perceptual distances, without paying in checkerboards."""
    verdicts = []
    for column in columns:
        mine, theirs = (
            {clip: scores[column] for clip, scores in qualities[one].clips.items()}
            for one in (name, other)
        )
        what = f"{name}: {column.upper() if column in ('lpips', 'dists') else column}"
        if column.upper() in MARGINS:
            verdicts.append(lower(what, mine, theirs, other))
        else:
            verdicts.append(no_worse(f"{what}, dB", mine, theirs, other, _CHECKERBOARD))
    return verdicts
