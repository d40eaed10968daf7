"""What UltraVSR needs of memory and compute, small or of full size."""

from __future__ import annotations

import torch

from upframe.systems.diffusion.requirements import (
    BASE_BYTES,
    SIDE,
    Cost,
    gflops_on_meta,
    measure,
    per_pixel,
)
from upframe.systems.spec import Config, Requirements, Shapes
from upframe.systems.ultravsr.configuration import build_ultravsr
from upframe.systems.ultravsr.memory import plan_memory
from upframe.systems.ultravsr.model import OPENING, UltraVSR
from upframe.systems.ultravsr.rts import RecurrentTemporalShift

_OVERLAP = 32
"""Input pixels that tiles share."""


def file_requirements(config: Config, shapes: Shapes) -> Requirements:
    """Of a weight file."""
    del shapes
    with torch.device("meta"):
        model = build_ultravsr(config)
    return _requirements(model, measure(build_ultravsr, config, frames=3))


def folder_requirements(model: UltraVSR) -> Requirements:
    """Of a folder's skeleton."""
    memory = plan_memory(model, (SIDE, SIDE)).working
    factor = torch.zeros(1, device="meta")
    cost = Cost(per_pixel(memory), gflops_on_meta(model, 1, factor))
    return _requirements(model, cost)


def _requirements(model: UltraVSR, cost: Cost) -> Requirements:
    shifts = [m for m in model.modules() if isinstance(m, RecurrentTemporalShift)]
    # as far as it looks, and as many frames as the estimator wants to see
    context = max(sum(shift.reach for shift in shifts), OPENING - 1)
    # a tile is a whole number of latents, and those halve at each level of the UNet
    levels = len(model.unet.config.block_out_channels)
    return Requirements(
        **cost._asdict(),
        multiple=model.factor // model.scale * 2 ** (levels - 1),
        overlap=_OVERLAP,
        context=context,
        lookahead=context,
        seeded=True,
        tiling="own",
        base_bytes=BASE_BYTES,
    )
