"""OASIS-nano: what routing its heads saves, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.findings import Finding, at_least, at_most
from benchmarks.diffusion.footage import restored
from benchmarks.routing.__main__ import draw, exponents, in_turns, kinds
from torch import Tensor

from upframe.systems.oasis.head_routing import Routing
from upframe.systems.oasis.routed_attention import (
    Grid,
    HeadKind,
    Window,
    check_window,
    routed_attention,
)

GRID = (18, 32)
"""Tokens of a frame, as many as an output of 512x288 has at the full size."""
FRAMES = (3, 5, 9)
"""Latent frames; the last is the clip of 33 frames of the full size."""
_GLOBAL, _ROUTED = "all global", "routed"


def routing(bench: Bench, plot: Path | None = None) -> Finding:
    """Routed heads against all-global ones: time of attention, and LPIPS.

    Args:
        bench: what is measured on.
        plot: file for the growth with frames.
    """
    network: Any = bench.weights.network("oasis-nano")
    chosen: Routing = network.routing
    config = network.transformer.config
    sizes = (config.num_attention_heads, config.attention_head_dim)
    times = growth(chosen, sizes, FRAMES, bench.rounds)
    if plot is not None:
        draw(times, plot)
    longest = times[-1]["seconds"]
    powers = exponents(times)
    rows = {
        label: bench.temporal(partial(restored, made))
        | {"s of attention": longest[label], "power of tokens": powers[label]}
        for label, made in (
            (_ROUTED, network),
            (_GLOBAL, bench.weights.network("oasis-nano-global")),
        )
    }
    shares = ", ".join(
        f"{chosen.share(kind):.0%} {kind}" for kind in ("global", "frame", "window")
    )
    lost = rows[_ROUTED]["LPIPS"] - rows[_GLOBAL]["LPIPS"]
    return Finding(
        "OASIS: routed heads",
        f"{bench.clips}; heads of oasis-nano: {shares}; all-global weights from "
        f"{bench.weights.source('oasis-nano-global')}. Attention alone, all layers, "
        f"random queries, keys and values, {FRAMES[-1]} latent frames of "
        f"{GRID[0]}x{GRID[1]} tokens, seconds of the processor, median of "
        f"{bench.rounds} rounds in turns; power: of time over tokens, from "
        f"{FRAMES[-2]} to {FRAMES[-1]} frames",
        rows,
        [
            at_least(
                "attention faster by",
                longest[_GLOBAL] / longest[_ROUTED],
                2,
                " times",
            ),
            at_most("LPIPS lost", lost, 0.005),
        ],
    )


@torch.inference_mode()
def growth(
    chosen: Routing, sizes: tuple[int, int], frames: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Seconds of attention by number of latent frames, routed and all global.

    Args:
        chosen: kinds of the heads of each layer.
        sizes: heads of a layer, channels of a head.
        frames: latent frames.
        rounds: that count.
    """
    heads, width = sizes
    window = check_window(chosen.window)
    rows = []
    for count in frames:
        grid = Grid(count, *GRID)
        shape = (1, heads, grid.tokens, width)
        generator = torch.Generator().manual_seed(0)
        inputs = [torch.randn(shape, generator=generator) for _ in range(3)]

        everyone = kinds((heads, 0, 0))
        layers = {
            _ROUTED: [layer.heads for layer in chosen.layers],
            _GLOBAL: [everyone] * len(chosen.layers),
        }
        works = {
            name: partial(_attend, heads_of_layers, inputs, grid, window)
            for name, heads_of_layers in layers.items()
        }
        took = in_turns(works, rounds, "cpu")
        rows.append({"latent_frames": count, "tokens": grid.tokens, "seconds": took})
    return rows


def _attend(
    layers: Sequence[tuple[HeadKind, ...]],
    inputs: Sequence[Tensor],
    grid: Grid,
    window: Window,
) -> None:
    q, k, v = inputs
    for heads in layers:
        routed_attention(q, k, v, heads, grid, window)
