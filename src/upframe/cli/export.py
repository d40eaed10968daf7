"""``upframe export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.errors import UsageError


def export(
    model: Annotated[str, typer.Argument(help="Model, preset or weight file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.")
    ],
    format: Annotated[str, typer.Option(help="onnx.")] = "onnx",
) -> None:
    """Write a model for another runtime, compared with torch."""
    if format != "onnx":
        raise UsageError(
            f"There is no export to {format!r} in this version.", "Use --format onnx."
        )
    from upframe.export.onnx import export_model

    result = export_model(model, output)
    console.say(
        f"ONNX opset {result.opset}; differs from torch by at most "
        f"{result.difference:.1e} of a range of 1"
    )
    for path in result.files.values():
        print(path)
