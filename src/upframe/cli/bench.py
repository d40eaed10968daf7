"""``upframe bench``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from upframe.cli import console
from upframe.evaluation.bench import ROUNDS, Cost, Setting
from upframe.evaluation.bench import bench as run
from upframe.planning.sizes import parse_wh
from upframe.weights.index import list_models


def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model, preset or weight file; repeatable. Default: all."),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the input.")
    ] = "180x144",
    frames: Annotated[int, typer.Option(min=1, help="Frames in each round.")] = 10,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds; their median counts.")
    ] = ROUNDS,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:N].")] = "auto",
    runtime: Annotated[str, typer.Option(help="auto, onnx or torch.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16 or int8.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: all cores.")
    ] = None,
    keep_ratio: Annotated[
        list[float] | None,
        typer.Option(
            metavar="R", help="Share that masked models compute, 0 to 1; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Measure time and memory of models against each other."""
    width, height = parse_wh(size)
    costs = run(
        model or [card.name for card in list_models()],
        Setting(width, height, frames, threads, runtime, device, precision),
        keep_ratios=keep_ratio or (),
        rounds=rounds,
        progress=None if as_json else console.say,
    )
    if as_json:
        print(json.dumps([cost.to_dict() for cost in costs], indent=2))
    else:
        _show(costs)


def _show(costs: list[Cost]) -> None:
    from rich.console import Console
    from rich.table import Table

    height, width = costs[0].input
    table = Table(
        title=f"{width}x{height}, {costs[0].threads} threads", title_justify="left"
    )
    table.add_column("model")
    masked = any(cost.keep_ratio is not None for cost in costs)
    if masked:
        table.add_column("keep", justify="right")
    table.add_column("runtime")
    for name in ("params", "GFLOPs", "ms/frame", "ratio", "peak MB"):
        table.add_column(name, justify="right")
    for cost in costs:
        flops = cost.gflops_per_frame
        table.add_row(
            cost.model,
            *([_keep(cost.keep_ratio)] if masked else []),
            f"{cost.runtime}, {cost.device}, {cost.precision}",
            f"{cost.params_m:.2f} M" if cost.params_m else "–",
            f"{flops:.1f}" if flops is not None else "–",
            f"{cost.ms_per_frame:.1f}",
            f"{cost.ms_per_frame / costs[0].ms_per_frame:.2f}",
            f"{cost.peak_rss_mb:.0f}",
        )
    Console().print(table)


def _keep(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:g}"
