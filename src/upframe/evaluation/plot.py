"""Scores of every frame as a plot."""

from __future__ import annotations

import math
from pathlib import Path

from upframe.errors import MissingExtraError
from upframe.evaluation.evaluate import EvaluationReport
from upframe.evaluation.metrics import METRICS

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise MissingExtraError("The plot of a report", "metrics") from error

_NAMED = 10
"""Clips that get a colour and a name; more share grey."""
_TICKS = 30
"""Images whose names fit below the axis."""


def write_plot(report: EvaluationReport, path: Path) -> bool:
    """Draw one diagram for each metric: a line for each clip, or, where clips have one
    scored frame or are single images, one line through all of them.

    Args:
        report: the scores.
        path: of the PNG.

    Returns:
        Whether there was anything to draw.
    """
    names = [
        name
        for name in report.mean
        if any(clip.per_frame[name] for clip in report.clips)
    ]
    if not names:
        return False
    figure = Figure(figsize=(9, 2.6 * len(names)), dpi=120, layout="constrained")
    figure.suptitle(f"{report.model}, {report.protocol}", fontsize=10)
    for axes, name in zip(
        figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True
    ):
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        if all(clip.frames <= 1 for clip in report.clips):
            _through_clips(axes, report, name)
        else:
            _by_clip(axes, report, name)
        if math.isfinite(report.mean[name]):
            axes.axhline(report.mean[name], color="black", linewidth=0.8, linestyle=":")
    figure.savefig(path, format="png", metadata={"Software": None})
    return True


def _by_clip(axes: Axes, report: EvaluationReport, name: str) -> None:
    first = 1 if METRICS[name].temporal else 0
    many = len(report.clips) > _NAMED
    for clip in report.clips:
        scores = _finite(clip.per_frame[name])
        axes.plot(
            range(first, first + len(scores)),
            scores,
            label=f" {clip.name}",
            color="grey" if many else None,
            alpha=0.4 if many else 1,
            linewidth=1,
            marker="." if len(scores) < 2 else None,
        )
    axes.set_xlabel("frame")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not many:
        axes.legend(fontsize=7)


def _through_clips(axes: Axes, report: EvaluationReport, name: str) -> None:
    scores = _finite([clip.scores[name] for clip in report.clips])
    axes.plot(range(len(scores)), scores, marker=".", linewidth=1)
    if len(scores) <= _TICKS:
        labels = [clip.name for clip in report.clips]
        axes.set_xticks(range(len(scores)), labels, rotation=60, fontsize=7)


def _finite(scores: list[float] | tuple[float, ...]) -> list[float]:
    """Infinite scores, as the PSNR of equal images, are gaps."""
    return [s if math.isfinite(s) else math.nan for s in scores]
