"""What upframe knows of MIA-VSR lite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from upframe.errors import WeightsError
from upframe.systems.shapes import count, expansion, side
from upframe.systems.spec import (
    Config,
    Lazy,
    Requirements,
    Shapes,
    SystemSpec,
    TrainingTask,
)

if TYPE_CHECKING:
    from torch import nn

_CONTEXT = 8
"""Frames before a chunk; see docs/notes/mia-vsr-cpu.md."""


def _matches(shapes: Shapes) -> bool:
    typical = ("conv_fuse.weight", "base.weight", "groups.0.attn.position_bias")
    return all(key in shapes for key in typical)


def _infer_config(shapes: Shapes) -> dict[str, Any]:
    dim = side(shapes, "conv_first.weight", 0)
    heads = side(shapes, "groups.0.attn.position_bias", 1)
    if dim % heads:
        raise WeightsError(f"{dim} channels cannot be divided among {heads} heads.")
    hidden = side(shapes, "groups.0.mlp.fc1.weight", 0)
    groups = range(count(shapes, "groups."))
    return {
        "dim": dim,
        "groups": [count(shapes, f"groups.{i}.convs.") for i in groups],
        "heads": heads,
        "mlp_ratio": expansion(dim, hidden),
    }


def _requirements(config: Config, shapes: Shapes) -> Requirements:
    dim, groups = config["dim"], config["groups"]
    weights = sum(
        math.prod(shape)
        for key, shape in shapes.items()
        if len(shape) in (2, 4) and not key.endswith("position_bias")
    )
    # keys and values also of the past frame; two products with 128 tokens; both
    # searches for motion, 81 places on a quarter of the pixels and 25 on all
    attention = (2 * dim**2 + 2 * 128 * dim) * len(groups)
    motion = 2 * (81 / 4 + 25)
    return Requirements(
        multiple=8,
        min_size=16,
        overlap=32,
        # Counted, not measured: the memory of each residual, before and after a step
        # and twice while it is made, the tiles of all windows, and frames.
        bytes_per_pixel=4 * (4 * dim * (sum(groups) + len(groups) + 8) + 6 * 48),
        gflops_per_megapixel=round(2 * (weights + attention + motion) / 1e3, 1),
        context=_CONTEXT,
        lookahead=1,
        masked=True,
    )


def _build(config: Config) -> nn.Module:
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite

    return MIAVSRLite(**config)


_MODULE = "upframe.systems.mia_vsr_lite.model"

SPEC = SystemSpec(
    name="mia-vsr-lite",
    title="MIA-VSR lite",
    paper="",
    build=_build,
    matches=_matches,
    infer_config=_infer_config,
    declared={"use_mask": lambda value: type(value) is bool},
    requirements=_requirements,
    scale=4,
    runtime=Lazy("upframe.systems.mia_vsr_lite.runtime:MIAVSRLiteRuntime.open"),
    tasks=(TrainingTask("mia-vsr-lite", Lazy(f"{_MODULE}:MIAVSRLite"), clips=True),),
    export=Lazy("upframe.export.onnx:export_recurrent"),
)
