"""``upframe evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.cli.options import with_options
from upframe.evaluation.by_frame import marked
from upframe.evaluation.evaluate import ClipScore, run_evaluation
from upframe.evaluation.options import EvaluateOptions


@with_options(EvaluateOptions)
def evaluate(
    model: Annotated[str, typer.Option(help="Model, preset or weight file.")],
    *,
    options: EvaluateOptions,
    report_folder: Annotated[
        Path | None,
        typer.Option("--report", help="Write report.md, .json and .png there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Score a model on a test set as published tables do."""
    if report_folder is not None:
        # Now rather than at the end: a package that draws may be missing.
        from upframe.evaluation.report import write_report

    def show(clip: ClipScore) -> None:
        print(_line(clip.name, clip.frames, clip.scores), flush=True)

    report = run_evaluation(model, options, None if as_json else show)
    if report_folder is not None:
        table, _ = write_report(report, report_folder)
        console.say(f"wrote {table}, and numbers and a plot beside it")
    if as_json:
        console.emit(report.to_dict())
        return
    print(_line("mean", sum(clip.frames for clip in report.clips), report.mean))
    for number in marked(report.by_frame):
        scores = {name: v[number - 1] for name, v in report.by_frame.items()}
        print(_line(f"frame {number}", len(report.clips), scores, "clips"))
    console.say(report.settings)
    for name, definition in report.definitions.items():
        console.say(f"{name}: {definition}")
    console.say(f"{report.model}: {report.ms_per_frame:.1f} ms a frame")


def _line(
    name: str, count: int, scores: Mapping[str, float], unit: str = "frames"
) -> str:
    values = "".join(f"  {metric} {value:8.4f}" for metric, value in scores.items())
    return f"{name:<20} {count:>6} {unit}{values}"
