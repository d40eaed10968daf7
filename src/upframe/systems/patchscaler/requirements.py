"""What PatchScaler needs of memory and compute."""

from __future__ import annotations

from upframe.systems.diffusion.requirements import measure, whole_frames
from upframe.systems.patchscaler.configuration import build_patchscaler
from upframe.systems.spec import Config, Requirements, Shapes


def file_requirements(config: Config, shapes: Shapes) -> Requirements:
    """Of a weight file."""
    del shapes
    cost = measure(build_patchscaler, config, frames=1)
    return whole_frames(cost, masked=True, seeded=True)
