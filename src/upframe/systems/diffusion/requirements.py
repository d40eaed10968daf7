"""What diffusion systems need of memory and compute, measured on a small clip.

Small systems run once with random weights. Full-size ones run on torch's meta device,
before any weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.spec import Requirements

SIDE = 32
"""Pixels of the clip on which requirements are measured."""
BASE_BYTES = 384 * 2**20
"""What torch and diffusers take; measured: 474 MiB with the engine, 63 without."""


class Cost(NamedTuple):
    """Of one network."""

    bytes_per_pixel: int
    """Bytes per input pixel."""
    gflops_per_megapixel: float
    """GFLOPs per million input pixels and frame."""


def measure(
    build: Callable[[Mapping[str, Any]], nn.Module],
    config: Mapping[str, Any],
    frames: int,
) -> Cost:
    """Of a small network with random weights, on a clip of so many frames."""
    with torch.random.fork_rng(devices=[]):
        network = build(config).eval()
        clip = torch.rand(1, frames, 3, SIDE, SIDE)
    work = FlopCounterMode(display=False)
    with work:
        live = live_bytes(lambda: network(clip))
    flops = int(work.get_total_flops()) / frames / SIDE**2
    return Cost(per_pixel(live), round(flops / 1e3, 1))


def per_pixel(size: int) -> int:
    """Bytes of the measured clip per input pixel of a frame."""
    return -(-size // SIDE**2)


def gflops_on_meta(system: Any, frames: int, *more: Any) -> float:
    """GFLOPs per million input pixels and frame of a system on the meta device.

    Attention of larger frames takes more.
    """
    clip = torch.empty(1, frames, 3, SIDE, SIDE, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        system(clip, *more)
    return round(int(counter.get_total_flops()) / frames / SIDE**2 / 1e3, 1)


def whole_frames(cost: Cost, **more: Any) -> Requirements:
    """Of systems that see a frame as a whole and pad it themselves."""
    return Requirements(**cost._asdict(), tiling="none", base_bytes=BASE_BYTES, **more)
