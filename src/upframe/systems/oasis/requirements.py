"""What OASIS needs of memory and compute, small or of full size."""

from __future__ import annotations

from upframe.systems.diffusion.requirements import (
    SIDE,
    Cost,
    gflops_on_meta,
    measure,
    per_pixel,
    whole_frames,
)
from upframe.systems.oasis.chunks import Chunking
from upframe.systems.oasis.configuration import OASISSizes, build_oasis
from upframe.systems.oasis.memory import plan_memory
from upframe.systems.oasis.model import OASIS
from upframe.systems.spec import Config, Requirements, Shapes


def file_requirements(config: Config, shapes: Shapes) -> Requirements:
    """Of a weight file."""
    del shapes
    cut = OASISSizes.model_validate(dict(config)).chunking
    cost = measure(build_oasis, config, frames=cut.length)
    context = cut.context + cut.blend
    return whole_frames(cost, context=context, lookahead=context, seeded=True)


def folder_requirements(system: OASIS) -> Requirements:
    """Of a folder's skeleton."""
    cut, temporal = Chunking(), system.decoder.temporal
    context = (cut.context + cut.blend) * temporal
    memory = plan_memory(system, SIDE, SIDE, chunking=cut).working
    frames = 1 + temporal * (cut.length - 1)
    return whole_frames(
        Cost(per_pixel(memory), gflops_on_meta(system, frames)),
        context=context,
        lookahead=context,
        segment=temporal,
        seeded=True,
    )
