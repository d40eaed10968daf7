"""``upframe train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.errors import MissingExtraError


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the data sets; else UPFRAME_DATA, or ./data.",
        ),
    ] = None,
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
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Build the caches of the data, no more.")
    ] = False,
) -> None:
    """Train a model from a recipe; docs/training.md has all of it."""
    try:
        from upframe.training.command import run
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error

    print(
        run(
            recipe,
            settings=settings or (),
            data=data,
            resume=resume,
            minutes=minutes,
            threads=threads,
            prepare=prepare,
            say=console.say,
        )
    )
