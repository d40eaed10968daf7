"""What a run of the comparison found, as a table, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHERS, FRONT = "#d1495b", "#5b6770", "#b8c0c6"


@dataclass(frozen=True)
class Entry:
    """One contender: what it reaches and what it costs."""

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
    """From the fastest to the slowest."""
    missing: Mapping[str, str]
    """Contender to why it did not take part."""

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """A table, ours in bold, and below it what decides the numbers."""
        lines = [
            "| | runtime | params | PSNR-Y | SSIM | LPIPS | tOF | ms/frame | peak |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for entry in self.entries:
            mean = entry.mean
            cells = [
                f"**{entry.label}**" if entry.ours else entry.label,
                entry.runtime,
                f"{entry.params_m:.2f} M" if entry.params_m else "–",
                f"{mean['psnr']:.2f}",
                f"{mean['ssim']:.3f}",
                f"{mean['lpips']:.3f}" if "lpips" in mean else "–",
                f"{mean['tof']:.3f}",
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


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (cost, gain) that no other one beats: no cheaper one gains as much.

    Returns:
        Them in order of cost.
    """
    best: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best


def draw(outcome: Outcome, file: Path) -> None:
    """The picture: time on a logarithmic axis, PSNR above it.

    Args:
        outcome: with at least one entry.
        file: to write, of any format that matplotlib knows by its suffix.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    points = [(entry.ms_per_frame, entry.mean["psnr"]) for entry in outcome.entries]
    edge = front(points)
    axes.step(
        *zip(*edge, strict=True), where="post", color=FRONT, zorder=1,
        label="Pareto front",
    )  # fmt: skip
    for entry, point in zip(outcome.entries, points, strict=True):
        colour = OURS if entry.ours else OTHERS
        axes.scatter(
            *point, s=80 if entry.ours else 40, color=colour, zorder=3,
            marker="D" if entry.ours else "o",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(points[0][0] / 1.6, points[-1][0] * 2.6)
    axes.margins(y=0.1)
    settings = outcome.settings
    threads = f"{settings['threads']} CPU threads"
    axes.set_xlabel(f"milliseconds per frame, {settings['input']}, {threads}")
    axes.set_ylabel("PSNR-Y in dB")
    axes.set_title(f"x4, {settings['data']}", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.draw_without_rendering()  # labels need to know where the points are
    _write_labels(axes, outcome.entries, points)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160, facecolor="white")
    plt.close(figure)


def _write_labels(
    axes: Axes, entries: Sequence[Entry], points: Sequence[tuple[float, float]]
) -> None:
    """Names beside their points, where they hide neither points nor other names."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    places = [
        ((7, 5), "left", "bottom"),
        ((7, -5), "left", "top"),
        ((-7, 5), "right", "bottom"),
        ((-7, -5), "right", "top"),
        ((0, 9), "center", "bottom"),
        ((0, -9), "center", "top"),
    ]
    taken = [
        Bbox.from_bounds(x - 8, y - 8, 16, 16)
        for x, y in axes.transData.transform(points)
    ]
    for number in sorted(range(len(entries)), key=lambda k: not entries[k].ours):
        entry = entries[number]
        for offset, across, upright in places:
            label = axes.annotate(
                entry.label,
                points[number],
                offset,
                textcoords="offset points",
                ha=across,
                va=upright,
                fontsize=9,
                color=OURS if entry.ours else OTHERS,
                fontweight="bold" if entry.ours else "normal",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
            box = label.get_window_extent()
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            others = (other for k, other in enumerate(taken) if k != number)
            if inside and not any(box.overlaps(other) for other in others):
                break
            if offset != places[-1][0]:
                label.remove()
        taken.append(box)


def _milliseconds(value: float) -> str:
    """Three digits that count, or whole milliseconds."""
    return (
        f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
    )
