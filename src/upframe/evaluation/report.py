"""The result of an evaluation as files: a table and a plot for people, numbers for
programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upframe.errors import OutputError
from upframe.evaluation.by_frame import marked
from upframe.evaluation.evaluate import EvaluationReport
from upframe.evaluation.plot import write_plot


def write_report(report: EvaluationReport, folder: Path) -> tuple[Path, Path]:
    """Write ``report.md``, ``report.json`` and, if anything was scored, ``report.png``;
    older ones of these names are replaced.

    Args:
        report: the scores.
        folder: is made if missing.

    Returns:
        Paths of the first two.

    Raises:
        OutputError: the folder cannot be written.
    """
    part = folder / ".report.png.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = write_plot(report, part)
        if drawn:
            part.replace(folder / "report.png")
        else:
            (folder / "report.png").unlink(missing_ok=True)
        contents = {
            "report.md": to_markdown(report, plot="report.png" if drawn else None),
            "report.json": json.dumps(to_json(report), indent=1, allow_nan=False)
            + "\n",
        }
        for name, content in contents.items():
            part = folder / f".{name}.part"
            part.write_text(content, encoding="utf-8")
            part.replace(folder / name)
    except OSError as error:
        raise OutputError(
            f"The report cannot be written to {folder}: {error}.",
            "Name a folder that can be written.",
        ) from error
    return folder / "report.md", folder / "report.json"


def to_json(report: EvaluationReport) -> dict[str, Any]:
    """What ``--json`` prints, the definitions, and the scores of every frame.

    Scores that are infinite or not defined are null.
    """
    return {
        **report.to_dict(),
        "settings": report.settings,
        "definitions": dict(report.definitions),
        "per_frame": {
            clip.name: {
                name: [round(v, 6) if math.isfinite(v) else None for v in values]
                for name, values in clip.per_frame.items()
            }
            for clip in report.clips
        },
    }


def to_markdown(report: EvaluationReport, plot: str | None = None) -> str:
    """A table of all clips and the mean, and below it what the numbers are; ``plot`` is
    the path of an image to show."""
    names = list(report.mean)
    total = sum(clip.frames for clip in report.clips)
    rows = [
        _row("clip", "frames", names),
        _row("---", "---:", ["---:"] * len(names)),
        *(
            _row(_plain(clip.name), clip.frames, _values(clip.scores, names))
            for clip in report.clips
        ),
        _row("**mean**", total, _values(report.mean, names)),
    ]
    lines = [
        f"# {_plain(report.model)}, {report.protocol}",
        "",
        *rows,
        "",
        f"Protocol {report.settings}. {report.ms_per_frame:.1f} ms a frame.",
        "",
        *(f"- {name}: {text}" for name, text in report.definitions.items()),
    ]
    if report.by_frame:
        lines += [
            "",
            "Mean over the clips by frame number:",
            "",
            _row("frame", "clips", list(report.by_frame)),
            _row("---", "---:", ["---:"] * len(report.by_frame)),
            *(
                _row(str(n), len(report.clips), _at(report.by_frame, n))
                for n in marked(report.by_frame)
            ),
        ]
    if plot is not None:
        lines += ["", f"![Scores of every frame]({plot})"]
    return "\n".join(lines).rstrip() + "\n"


def _at(by_frame: Mapping[str, tuple[float, ...]], number: int) -> list[str]:
    scores = {name: values[number - 1] for name, values in by_frame.items()}
    return _values(scores, list(by_frame))


def _plain(name: str) -> str:
    """A name that cannot end a cell of the table."""
    return name.replace("|", "\\|").replace("\n", " ")


def _values(scores: Mapping[str, float], names: list[str]) -> list[str]:
    return [
        "–" if math.isnan(scores[name]) else f"{scores[name]:.4f}" for name in names
    ]


def _row(name: str, frames: int | str, values: list[str]) -> str:
    return f"| {' | '.join([name, str(frames), *values])} |"
