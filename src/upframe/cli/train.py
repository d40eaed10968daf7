"""``upframe train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from upframe.cli import console
from upframe.errors import MissingExtraError


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml")],
    resume: Annotated[
        str | None,
        typer.Option(help="auto continues the run's last checkpoint, or a path."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop, resumable, after this long.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Train a model from a recipe."""
    from upframe.training.recipe import load_recipe

    try:
        from upframe.training.loop import train as run
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error

    plan = load_recipe(recipe, tuple(settings or ()))

    def show(line: dict[str, Any]) -> None:
        console.say("  ".join(f"{k} {v}" for k, v in line.items() if k != "event"))

    report = run(plan, resume=resume, minutes=minutes, threads=threads, report=show)
    state = "finished" if report.finished else "stopped, continue with --resume auto"
    console.say(
        f"{plan.name}: {state} at step {report.step} of {plan.optimiser.steps} "
        f"after {report.seconds / 60:.1f} min, {report.skipped} steps skipped"
    )
    print(report.checkpoint)
