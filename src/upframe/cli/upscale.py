"""``upframe upscale``."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.cli.options import with_options
from upframe.engine.backends.choose import run
from upframe.engine.finish import Report
from upframe.engine.options import Options
from upframe.engine.prepare import Job, prepare
from upframe.engine.survey import survey
from upframe.errors import (
    Interrupted,
    OutputExistsError,
    UpframeError,
    UsageError,
)
from upframe.media.formats import default_suffix

_MEASURE_FROM = 60
"""Seconds of a run from which its plan is worth measuring the model's speed."""


@with_options(Options)
def upscale(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Videos, folders, or -.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Video, folder of images, pattern (%06d.png) or -; a folder for "
            "several inputs. Default: beside the input.",
        ),
    ] = None,
    *,
    options: Options,
    never: Annotated[
        bool, typer.Option("-n", "--never", help="Pass over outputs that exist.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan only.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Errors only.")] = False,
) -> int:
    """Upscale videos: every frame, timestamp, stream and colour stays right."""
    if options.overwrite and never:
        raise UsageError("-y and -n contradict each other.", "Give one of them.")
    how = _How(options, never, dry_run, as_json, quiet)
    targets = _targets(inputs, output)
    failed = 0
    for name, target in zip(inputs, targets, strict=True):
        try:
            _one(name, target, how)
        except UpframeError as exc:
            if len(inputs) == 1:
                raise
            if as_json:
                console.emit_error(exc, input=name)
            console.complain(exc)
            failed += 1
    if failed:
        console.say(f"upframe: {failed} of {len(inputs)} inputs failed.")
    return 0 if not failed else 1 if failed == len(inputs) else 3


@dataclass(frozen=True)
class _How:
    """What is the same for all inputs of a command."""

    options: Options
    never: bool
    dry_run: bool
    as_json: bool
    quiet: bool


def _one(name: str, target: str | None, how: _How) -> None:
    if how.never and target not in (None, "-") and Path(str(target)).exists():
        _pass_over(str(target), how)
        return
    measure_from = 0 if how.dry_run else _MEASURE_FROM if how.as_json else inf
    try:
        job = prepare(name, target, how.options, measure_from=measure_from)
    except OutputExistsError as exc:
        if not how.never:
            raise
        _pass_over(exc.path, how)
        return
    if how.dry_run:
        _print_plan(job, how.as_json)
        return
    report = _run(name, job, how)
    if how.as_json:
        console.emit({"event": "done", **report.to_dict()})
    elif not how.quiet:
        _print_report(report)


def _run(name: str, job: Job, how: _How) -> Report:
    display: console.Display
    if how.as_json:
        console.emit({"event": "plan", **job.plan.to_dict()})
        display = console.JsonLines()
    elif how.quiet:
        display = console.Silent()
    else:
        display = console.Bar(Path(name).name)
    try:
        return run(job, display)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped {name}.",
            "The same command continues after the last finished chunk.",
        ) from None
    finally:
        display.stop()


def _pass_over(target: str, how: _How) -> None:
    if how.as_json:
        console.emit({"event": "skipped", "output": target})
    elif not how.quiet:
        console.say(f"{target} exists already; skipped.")


def _print_plan(job: Job, as_json: bool) -> None:
    found = survey(job)
    if as_json:
        console.emit({"event": "plan", **job.plan.to_dict(), **found.to_dict()})
    else:
        print(job.plan.describe())
        print(found.describe())


def _print_report(report: Report) -> None:
    for warning in report.warnings:
        console.say(f"note: {warning}")
    console.say(
        f"{report.output}: {report.frames_out} frames, {report.width}x{report.height}, "
        f"{report.seconds:.1f} s ({report.fps:.1f} fps) with {report.model} in "
        f"{report.precision} on {report.device}, {report.peak_rss_mb:.0f} MB"
    )


def _targets(inputs: list[str], output: str | None) -> list[str | None]:
    """Where each input goes; refuses what cannot be meant, before any work.

    Raises:
        UsageError: two inputs have one output, or an output was named as an input.
    """
    if len(inputs) == 2 and output is None and not _may_exist(inputs[1]):
        first, second = inputs
        raise UsageError(
            f"The input {second} does not exist.",
            f"To write to it, use -o: upframe {first} -o {second}",
        )
    targets = [_target(name, output, several=len(inputs) > 1) for name in inputs]
    owners: dict[str, str] = {}
    for name, target in zip(inputs, targets, strict=True):
        if target is None or owners.setdefault(target, name) == name:
            continue
        raise UsageError(
            f"{owners[target]} and {name} would both become {target}.",
            "Run them one by one with -o.",
        )
    return targets


def _may_exist(name: str) -> bool:
    """Whether a name may mean an input: a file, a folder, a pattern or a pipe."""
    return name == "-" or "%" in name or Path(name).exists()


def _target(name: str, output: str | None, *, several: bool) -> str | None:
    if not several or output is None:
        return output
    if output == "-":
        raise UsageError("Several inputs do not fit into one pipe.", "Name a folder.")
    folder = Path(output)
    if folder.suffix and not folder.is_dir():
        raise UsageError(
            f"Several inputs do not fit into {output}.", "Name a folder with -o."
        )
    source = Path(name)
    suffix = source.suffix if source.suffix and not source.is_dir() else ""
    return str(folder / (source.stem + (default_suffix(source) if suffix else "")))
