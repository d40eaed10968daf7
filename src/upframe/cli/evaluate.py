"""``upframe evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.evaluation.evaluate import ClipScore
from upframe.evaluation.evaluate import evaluate as run


def evaluate(
    model: Annotated[str, typer.Option(help="Model, preset or weight file.")],
    data: Annotated[
        Path, typer.Option(help="DIR/gt/<clip>/*.png, for sisr DIR/*.png.")
    ],
    protocol: Annotated[str, typer.Option(help="sisr, vid4, reds4 or vimeo90k.")],
    metrics: Annotated[str, typer.Option(help="Some of psnr,ssim.")] = "psnr,ssim",
    frames: Annotated[
        int | None, typer.Option(help="Only the first frames of each clip.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:N].")] = "auto",
    runtime: Annotated[str, typer.Option(help="auto, onnx or torch.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Score a model on a test set as published tables do."""
    names = tuple(name.strip() for name in metrics.split(",") if name.strip())

    def show(clip: ClipScore) -> None:
        console.say(_line(clip.name, clip.scores))

    report = run(
        model=model,
        data=data,
        protocol=protocol,
        metrics=names,
        frames=frames,
        device=device,
        runtime=runtime,
        threads=threads,
        progress=None if as_json else show,
    )
    if as_json:
        console.emit(report.to_dict())
        return
    console.say(report.settings)
    print(f"{_line('mean', report.mean)}   {report.ms_per_frame:.1f} ms a frame")


def _line(name: str, scores: Mapping[str, float]) -> str:
    return f"{name:<16}" + "   ".join(f"{k} {v:.4f}" for k, v in scores.items())
