"""``upframe evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.evaluation.by_frame import marked
from upframe.evaluation.evaluate import ClipScore
from upframe.evaluation.evaluate import evaluate as run
from upframe.evaluation.metrics import METRICS
from upframe.evaluation.protocols import PROTOCOLS
from upframe.planning.plan import DEFAULT_CHUNK_LENGTH


def evaluate(
    model: Annotated[str, typer.Option(help="Model, preset or weight file.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with gt/<clip>/*.png and perhaps lq/<clip>/*.png, or REDS, "
            "Vimeo-90K, Vid4 or an LMDB as BasicSR has them; for sisr with *.png; for "
            "real with <clip>/*.png, or a video."
        ),
    ],
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")],
    metrics: Annotated[
        str | None,
        typer.Option(
            help=f"Some of {','.join(METRICS)}. Default: those of the protocol's "
            "published tables."
        ),
    ] = None,
    keep_ratio: Annotated[
        float | None,
        typer.Option(metavar="R", help="Share that masked models compute, 0 to 1."),
    ] = None,
    low: Annotated[
        Path | None,
        typer.Option("--lq", help="Low-resolution side, if it is not in --data."),
    ] = None,
    meta: Annotated[
        Path | None,
        typer.Option(help="meta_info_*.txt or list that names the clips that count."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Only the first frames of each clip.")
    ] = None,
    by_frame: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Score by frame number, 1 to N; shorter clips run forwards and "
            "backwards.",
        ),
    ] = None,
    chunk_frames: Annotated[
        int,
        typer.Option(
            min=1,
            help="Longer clips go through temporal models in chunks of this length.",
        ),
    ] = DEFAULT_CHUNK_LENGTH,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:N].")] = "auto",
    runtime: Annotated[str, typer.Option(help="auto, onnx or torch.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16 or int8.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: all cores.")
    ] = None,
    metric_weights: Annotated[
        Path | None,
        typer.Option(help="Folder with the weights of lpips, dists, niqe."),
    ] = None,
    phases: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4,
            help="Average lpips and dists over so many crops that differ by some "
            "pixels. Default: the protocol's.",
        ),
    ] = None,
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
    names = None
    if metrics is not None:
        names = [name.strip() for name in metrics.split(",") if name.strip()]

    def show(clip: ClipScore) -> None:
        print(_line(clip.name, clip.frames, clip.scores), flush=True)

    report = run(
        model=model,
        data=data,
        protocol=protocol,
        metrics=names,
        frames=frames,
        by_frame=by_frame,
        device=device,
        runtime=runtime,
        threads=threads,
        metric_weights=metric_weights,
        phases=phases,
        low=low,
        meta=meta,
        chunk_frames=chunk_frames,
        keep_ratio=keep_ratio,
        precision=precision,
        progress=None if as_json else show,
    )
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
