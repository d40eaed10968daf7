"""How much time routing heads saves in attention, and how time grows with frames.

    python -m benchmarks.routing [--frames 1 3 5 9] [--grid 12x20] [--device cuda]

Self-attention alone, without projections, on random queries, keys and values with the
heads of Wan2.1-1.3B (12 of 128 channels). Frames are latent frames: 9 are a clip of 33.
Every number of frames goes through all routings in turns; medians of the rounds; ratios
are to all-global attention of the same run. On a shared machine only ratios mean
anything. ``--tiles`` compares the boxes of window heads on a CPU, ``--work`` computes
(does not measure) query-key pairs at 720p. Writes results.json and growth.svg with -o.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upframe.systems.oasis.routed_attention import (
    Grid,
    HeadKind,
    Window,
    check_window,
    pattern_mask,
    routed_attention,
    tiled_attention,
)

HEADS, CHANNELS = 12, 128
ROUTINGS: dict[str, tuple[int, int, int]] = {
    "all global": (12, 0, 0),
    "third each": (4, 4, 4),
    "quarter global": (3, 5, 4),
    "none global": (0, 6, 6),
    "all frame": (0, 12, 0),
    "all window": (0, 0, 12),
}
"""Heads that are global, frame, window. No routing of a trained model is known yet."""
TILES = ((1, 4, 4), (1, 8, 8), (1, 16, 16), (2, 8, 8), (3, 4, 4), (3, 8, 8))


def kinds(counts: tuple[int, int, int]) -> tuple[HeadKind, ...]:
    return (
        *("global",) * counts[0],
        *("frame",) * counts[1],
        *("window",) * counts[2],
    )


def tokens(grid: Grid, heads: int, device: str, dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    shape = (1, heads, grid.tokens, CHANNELS)
    return [torch.randn(shape, device=device, dtype=dtype) for _ in range(3)]


def seconds(work: Callable[[], object], device: str) -> float:
    """CPU time, which others on the machine disturb less; of the clock on a
    GPU."""
    if device == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turns(
    works: Mapping[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, float]:
    """Median seconds of each, after one round that warms up."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work, device)
            if turn:
                spent[name].append(took)
    return {name: statistics.median(took) for name, took in spent.items()}


def growth(arguments: argparse.Namespace, window: Window) -> list[dict[str, Any]]:
    rows = []
    for frames in arguments.frames:
        grid = Grid(frames, *arguments.grid)
        inputs = tokens(grid, HEADS, arguments.device, arguments.dtype)
        works = {
            name: partial(routed_attention, *inputs, kinds(counts), grid, window)
            for name, counts in ROUTINGS.items()
        }
        took = in_turns(works, arguments.rounds, arguments.device)
        row = {
            "latent_frames": frames,
            "tokens": grid.tokens,
            "seconds": {name: round(value, 5) for name, value in took.items()},
            "faster_than_all_global": {
                name: round(took["all global"] / value, 2)
                for name, value in took.items()
            },
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of time over frames, between the two longest clips: 1 linear, 2 quadratic."""
    if len(rows) < 2:
        return {}
    before, after = rows[-2:]
    longer = math.log(after["tokens"] / before["tokens"])
    return {
        name: round(
            math.log(after["seconds"][name] / before["seconds"][name]) / longer, 2
        )
        for name in after["seconds"]
    }


def tiles(arguments: argparse.Namespace, window: Window) -> dict[str, float]:
    """Time of window heads by tile, over that of the fastest."""
    grid = Grid(arguments.frames[-1], *arguments.grid)
    inputs = tokens(grid, 4, "cpu", torch.float32)
    works = {
        "x".join(map(str, tile)): partial(tiled_attention, *inputs, grid, window, tile)
        for tile in TILES
    }
    took = in_turns(works, arguments.rounds, "cpu")
    least = min(took.values())
    return {name: round(value / least, 2) for name, value in took.items()}


def work(window: Window, grid: Grid) -> dict[str, float]:
    """Query-key pairs of all-global attention over those of each routing; computed."""
    n = grid.tokens
    inside = math.prod(
        pattern_mask("window", Grid(1, 1, side), Window(1, 1, span)).double().mean()
        for side, span in zip(grid, window, strict=True)
    )
    shares = (1.0, 1 / grid.frames, float(inside))
    return {
        "tokens": n,
        **{
            name: round(
                HEADS / sum(c * s for c, s in zip(counts, shares, strict=True)), 1
            )
            for name, counts in ROUTINGS.items()
        },
    }


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    frames = [row["latent_frames"] for row in rows]
    unit = rows[0]["seconds"]["all global"]
    for name in rows[0]["seconds"]:
        times = [row["seconds"][name] / unit for row in rows]
        axes.loglog(frames, times, marker="o", label=name)
    axes.set_xticks(frames, [str(n) for n in frames])
    axes.minorticks_off()
    axes.set_xlabel("latent frames")
    axes.set_ylabel(f"time of attention, all global with {frames[0]} = 1")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 3, 5, 9])
    parser.add_argument("--grid", default="12x20", help="tokens of a frame: rows x row")
    parser.add_argument("--window", default="3x9x9")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", action="store_true")
    parser.add_argument("--work", action="store_true")
    parser.add_argument("-o", "--output", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    arguments.grid = tuple(int(side) for side in arguments.grid.split("x"))
    arguments.dtype = torch.float32 if arguments.device == "cpu" else torch.bfloat16
    return arguments


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    window = check_window([int(side) for side in arguments.window.split("x")])
    with torch.inference_mode():
        rows = growth(arguments, window)
        result: dict[str, Any] = {
            "torch": torch.__version__,
            "device": arguments.device,
            "threads": arguments.threads,
            "tokens_of_a_frame": arguments.grid,
            "window": window,
            "rounds": arguments.rounds,
            "rows": rows,
            "exponent_between_the_longest_two": exponents(rows),
        }
        if arguments.tiles:
            result["tiles_over_the_fastest"] = tiles(arguments, window)
    if arguments.work:
        result["pairs_saved_at_720p_33_frames"] = work(window, Grid(9, 45, 80))
    print(json.dumps(result, indent=1))
    if arguments.output is not None:
        text = json.dumps(result, indent=1) + "\n"
        (arguments.output / "results.json").write_text(text)
        draw(rows, arguments.output / "growth.svg")


if __name__ == "__main__":
    main()
