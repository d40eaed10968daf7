"""OASIS-nano: what routing its heads saves, and what it costs in quality."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from benchmarks.diffusion.bench import MARGINS, Bench, means
from benchmarks.diffusion.clips import restored
from benchmarks.diffusion.report import Result, no_worse, ratio_at_least
from benchmarks.routing.__main__ import draw, exponents, in_turns, kinds
from torch import Tensor

from upframe.errors import WeightsError
from upframe.systems.oasis.attention import global_routing
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
_GLOBAL, _ROUTED, _TRAINED = "all global", "routed", "all global, trained so"


def routing(bench: Bench, plot: Path | None = None) -> Result:
    """Routed heads against all-global ones: quality, and time of the whole system.

    All rows share the decoder. ``all global`` has the same weights with the routing
    taken away; the weights that were trained without routing get the decoder of the
    routed ones, or are left out where their latents do not fit it.

    Args:
        bench: what is measured on.
        plot: file for the growth of attention with frames.
    """
    network: Any = bench.weights.network("oasis-nano")
    chosen: Routing = network.routing
    ways: dict[str, Any] = {_ROUTED: network, _GLOBAL: all_global(network)}
    trained, note = _trained_without(bench, network)
    if trained is not None:
        ways[_TRAINED] = trained
    runs = {
        label: partial(restored, made, bench.clips[0]) for label, made in ways.items()
    }
    seconds = bench.times(runs)
    scores = {
        label: bench.temporal(partial(restored, made)) for label, made in ways.items()
    }
    config = network.transformer.config
    sizes = (config.num_attention_heads, config.attention_head_dim)
    growth = attention_times(chosen, sizes, FRAMES, bench.rounds)
    if plot is not None:
        draw(growth, plot)
    attention, powers = growth[-1]["seconds"], exponents(growth)
    frames = bench.clips[0].low.shape[1]
    rows = {
        label: means(scores[label])
        | {
            "ms/frame": fmean(seconds[label].values()) / frames * 1e3,
            "s of attention": attention.get(label, nan),
            "power of tokens": powers.get(label, nan),
        }
        for label in ways
    }
    mine = scores[_ROUTED]
    return Result(
        "OASIS: routed heads",
        _protocol(bench, chosen, note),
        rows,
        [
            ratio_at_least(
                "whole system faster than all global",
                seconds[_GLOBAL],
                seconds[_ROUTED],
                1,
            ),
            *(
                no_worse(
                    metric, mine[metric], scores[label][metric], label, MARGINS[metric]
                )
                for label in ways
                if label != _ROUTED
                for metric in ("LPIPS", "E\\*warp")
            ),
        ],
    )


def _trained_without(bench: Bench, network: Any) -> tuple[Any | None, str]:
    """Weights that were trained with all heads global, and where they are from."""
    try:
        source = bench.weights.source("oasis-nano-global")
        trained: Any = bench.weights.network("oasis-nano-global")
    except WeightsError as error:
        return None, f"left out: {error}"
    if not share_decoder(trained, network):
        return None, f"left out: the latents of {source} are others"
    return trained, f"{source}, with the decoder of oasis-nano"


def _protocol(bench: Bench, chosen: Routing, note: str) -> str:
    shares = ", ".join(
        f"{chosen.share(kind):.0%} {kind}" for kind in ("global", "frame", "window")
    )
    return (
        f"{bench.described}; heads of oasis-nano: {shares}; {_GLOBAL}: the same "
        f"weights and decoder without the routing; {_TRAINED}: {note}; ms/frame: the "
        f"whole system on {bench.clips[0].name}, {bench.rounds} rounds in turns. "
        "Attention alone: all layers, random queries, keys, values, "
        f"{FRAMES[-1]} latent frames of {GRID[0]}x{GRID[1]} tokens, CPU time; power: "
        f"of time over tokens, from {FRAMES[-2]} to {FRAMES[-1]} frames"
    )


def all_global(network: Any) -> Any:
    """A copy of the system whose heads all attend globally; equal weights."""
    other = copy.deepcopy(network)
    other.set_routing(global_routing(other.transformer))
    return other


def share_decoder(other: Any, network: Any) -> bool:
    """Give a system the decoder of another one.

    Returns:
        Whether their latents fit each other; else nothing is changed.
    """
    mine, theirs = network.decoder, other.decoder
    sizes = [(d.channels, d.spatial, d.temporal) for d in (mine, theirs)]
    if sizes[0] != sizes[1]:
        return False
    other.vae, other.decoder = network.vae, mine
    return True


@torch.inference_mode()
def attention_times(
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
