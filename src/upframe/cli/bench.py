"""``upframe bench``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from upframe.cli import console
from upframe.cli.options import with_options
from upframe.evaluation.bench import Cost, run_bench
from upframe.evaluation.options import BenchOptions
from upframe.weights.index import list_models


@with_options(BenchOptions)
def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model, preset or weight file; repeatable. Default: all."),
    ] = None,
    *,
    options: BenchOptions,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Measure time and memory of models against each other."""
    costs = run_bench(
        model or [card.name for card in list_models()],
        options,
        None if as_json else console.say,
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
