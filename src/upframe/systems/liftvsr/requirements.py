"""What LiftVSR needs of memory and compute, small or of full size."""

from __future__ import annotations

import torch

from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.diffusion.requirements import (
    SIDE,
    Cost,
    gflops_on_meta,
    measure,
    per_pixel,
    whole_frames,
)
from upframe.systems.liftvsr.configuration import LiftVSRSizes, build_liftvsr
from upframe.systems.liftvsr.model import LiftVSR
from upframe.systems.spec import Config, Requirements, Shapes


def file_requirements(config: Config, shapes: Shapes) -> Requirements:
    """Of a weight file."""
    del shapes
    segment = LiftVSRSizes.model_validate(dict(config)).liftvsr.segment
    cost = measure(build_liftvsr, config, frames=segment)
    return whole_frames(cost, segment=segment, seeded=True)


def folder_requirements(system: LiftVSR) -> Requirements:
    """Of a folder's skeleton."""
    segment = system.config.segment
    clip = torch.empty(1, segment, 3, SIDE, SIDE, device="meta")
    live = live_bytes(lambda: system(clip), unfolding=True)
    cost = Cost(per_pixel(live), gflops_on_meta(system, segment))
    return whole_frames(cost, segment=segment, seeded=True)
