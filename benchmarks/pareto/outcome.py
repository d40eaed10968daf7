"""Results of a comparison as a table and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan

COLUMNS = {
    "psnr": ("PSNR-Y", 2),
    "ssim": ("SSIM", 3),
    "lpips": ("LPIPS", 3),
    "dists": ("DISTS", 3),
    "checkerboard": ("checkerboard, dB", 1),
    "false_texture": ("false texture, dB", 1),
    "niqe": ("NIQE", 2),
    "tof": ("tOF", 3),
    "ewarp": ("E\\*warp", 2),
}
"""Metric to the head of its column and the digits after the point."""


@dataclass(frozen=True)
class Entry:
    """One contender: its scores and its cost."""

    name: str
    label: str
    ours: bool
    runtime: str
    params_m: float
    mean: Mapping[str, float]
    """Metric to mean over clips."""
    clips: Mapping[str, Mapping[str, float]]
    ms_per_frame: float
    peak_mb: float


@dataclass(frozen=True)
class Outcome:
    """A whole run."""

    settings: Mapping[str, object]
    """Everything that decides the numbers."""
    entries: Sequence[Entry]
    missing: Mapping[str, str]
    """Contender or metric to why it was left out."""
    metrics: Sequence[str]
    """That were asked for, in the order of the table."""

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """A table, ours in bold, and below it what decides the numbers."""
        heads = [COLUMNS[name][0] for name in self.metrics]
        right = " ---: |"
        lines = [
            f"| | runtime | params | {' | '.join(heads)} | ms/frame | peak |",
            f"| --- | --- |{right * (len(heads) + 3)}",
        ]
        for entry in self.entries:
            cells = [
                f"**{entry.label}**" if entry.ours else entry.label,
                entry.runtime,
                f"{entry.params_m:.2f} M" if entry.params_m else "–",
                *(_score(entry.mean, name) for name in self.metrics),
                _milliseconds(entry.ms_per_frame),
                f"{entry.peak_mb:.0f} MB",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        lines += [f"- {name}: {value}" for name, value in self.settings.items()]
        lines += [
            f"- not measured: {name}: {why}" for name, why in self.missing.items()
        ]
        return "\n".join(lines) + "\n"


def _score(mean: Mapping[str, float], name: str) -> str:
    value = mean.get(name, float("nan"))
    return "–" if isnan(value) else f"{value:.{COLUMNS[name][1]}f}"


def _milliseconds(value: float) -> str:
    """Three digits that count, or whole milliseconds."""
    return (
        f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
    )
