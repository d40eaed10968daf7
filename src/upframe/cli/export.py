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
    int8: Annotated[
        bool, typer.Option("--int8", help="Convolutions in int8, 1.5 times as fast.")
    ] = False,
) -> None:
    """Write a model for another runtime, compared with torch."""
    if format != "onnx":
        raise UsageError(
            f"There is no export to {format!r} in this version.", "Use --format onnx."
        )
    from upframe.export.onnx import export_model

    result = export_model(model, output, int8=int8)
    if int8:
        found = f"keeps {result.fidelity:.1f} dB to float on drawn clips"
    else:
        found = f"differs from torch by at most {result.difference:.1e} of a range of 1"
    console.say(f"ONNX opset {result.opset}; {found}")
    for path in result.files.values():
        print(path)
