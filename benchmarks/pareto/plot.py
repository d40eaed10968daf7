"""The plot of a comparison: quality over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pareto.outcome import Entry, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHERS, FRONT = "#d1495b", "#5b6770", "#b8c0c6"


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
    """The plot: time on a logarithmic axis, PSNR above it.

    Args:
        outcome: with at least one entry.
        file: to write, of any format that matplotlib knows by its suffix.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
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


def _write_labels(
    axes: Axes, entries: Sequence[Entry], points: Sequence[tuple[float, float]]
) -> None:
    """Names beside their points, where they hide neither points nor other names."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    # right, left, above; near first, then further off with a line to the point
    places = [
        (across, side * upright)
        for upright in (5, 19, 33)
        for across in (7, -7, 0)
        for side in (1, -1)
    ]
    taken = [
        Bbox.from_bounds(x - 8, y - 8, 16, 16)
        for x, y in axes.transData.transform(points)
    ]
    for number in sorted(range(len(entries)), key=lambda k: not entries[k].ours):
        entry = entries[number]
        for offset in places:
            label = axes.annotate(
                entry.label,
                points[number],
                offset,
                textcoords="offset points",
                ha={7: "left", -7: "right", 0: "center"}[offset[0]],
                va="bottom" if offset[1] > 0 else "top",
                fontsize=9,
                color=OURS if entry.ours else OTHERS,
                fontweight="bold" if entry.ours else "normal",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
            label.set_in_layout(False)  # so that the points stay where they are
            box = label.get_window_extent()
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            inside &= axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            others = (other for k, other in enumerate(taken) if k != number)
            if inside and not any(box.overlaps(other) for other in others):
                break
            if offset != places[-1]:
                label.remove()
        if abs(offset[1]) > 5:
            line = {"arrowstyle": "-", "color": FRONT, "linewidth": 0.8}
            axes.annotate(
                "", points[number], offset, textcoords="offset points", arrowprops=line
            )
        taken.append(box)
