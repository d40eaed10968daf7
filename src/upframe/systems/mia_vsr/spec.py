"""What upframe knows of MIA-VSR."""

from __future__ import annotations

import math
import re
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
"""Frames on both sides of a chunk, whose recurrence runs both ways."""
_FIRST = "patch_align.backward_1.layers.0.residual_group.blocks.0."


def _matches(shapes: Shapes) -> bool:
    typical = ("conv_first.weight", "conv_hr.weight", f"{_FIRST}attn.qkv.weight")
    return all(key in shapes for key in typical)


def _infer_config(shapes: Shapes) -> dict[str, Any]:
    layers = "patch_align.backward_1.layers."
    groups = range(count(shapes, layers))
    blocks = [f"{layers}{i}.residual_group.blocks." for i in groups]
    table = "0.attn.relative_position_bias_table"
    dim = side(shapes, "conv_first.weight", 0)
    tokens = side(shapes, f"{_FIRST}attn.relative_position_index", 0)
    heads = [side(shapes, f"{block}{table}", 1) for block in blocks]
    if math.isqrt(tokens) ** 2 != tokens:
        raise WeightsError(f"Windows of {tokens} pixels are not square.")
    if any(dim % n for n in heads):
        raise WeightsError(f"{dim} channels cannot be divided among {heads} heads.")
    hidden = side(shapes, f"{_FIRST}mlp.fc1.weight", 0)
    return {
        "mid_channels": side(shapes, "conv_before_upsample.weight", 0),
        "embed_dim": dim,
        "depths": [count(shapes, block) for block in blocks],
        "heads": heads,
        "window": math.isqrt(tokens),
        "mlp_ratio": expansion(dim, hidden),
    }


def _requirements(config: Config, shapes: Shapes) -> Requirements:
    dim, mid = config["embed_dim"], config["mid_channels"]
    used = {  # these three are in the authors' files and are never used
        key: math.prod(shape)
        for key, shape in shapes.items()
        if len(shape) in (2, 4)
        and not re.match(r"patch_align\.\w+\.conv_(first|before_upsample)", key)
        and not key.endswith(("_bias_table", "_index"))
    }
    linear = sum(n for key, n in used.items() if not key.startswith("spynet."))
    # of the three frames, two pass through keys and values alone
    linear += sum(4 * dim**2 for key in used if key.endswith("attn.qkv.weight"))
    attention = 2 * 3 * config["window"] ** 2 * dim * 4 * sum(config["depths"])
    upsampled = 3 * used.get("upconv2.weight", 0)
    upsampled += 15 * sum(used.get(f"conv_{k}.weight", 0) for k in ("hr", "last"))
    # a level of the pyramid has a quarter of the pixels of the next; both directions
    flow = 2 * 4 / 3 * used.get("spynet.basic_module.5.basic_module.2.weight", 0) * 2.4
    return Requirements(
        multiple=1,
        min_size=16,
        overlap=32,
        # The largest maps of the reconstruction, a block's tokens, and what the blocks
        # of one branch remember. Measured with two blocks, 60 and 120 channels: 16 to
        # 25 kB for one to three frames; each further one adds about 4 kB.
        bytes_per_pixel=4
        * (2 * 64 * 16 + 16 * mid + 24 * dim + 3 * dim * sum(config["depths"])),
        gflops_per_megapixel=round(
            2 * (linear + attention + upsampled + flow) / 1e3, 1
        ),
        context=_CONTEXT,
        masked=config.get("use_mask", True),
    )


def _build(config: Config) -> nn.Module:
    from upframe.systems.mia_vsr.model import MIAVSR

    return MIAVSR(**config)


_MODULE = "upframe.systems.mia_vsr.model"

SPEC = SystemSpec(
    name="mia-vsr",
    title="MIA-VSR",
    paper="Zhou et al., Video Super-Resolution Transformer with Masked "
    "Inter&Intra-Frame Attention, CVPR 2024",
    build=_build,
    matches=_matches,
    infer_config=_infer_config,
    declared={"use_mask": lambda value: type(value) is bool},
    requirements=_requirements,
    scale=4,
    runtime=Lazy("upframe.systems.mia_vsr.runtime:MIAVSRRuntime.open"),
    tasks=(
        TrainingTask(
            "mia-vsr", Lazy(f"{_MODULE}:MIAVSR"), clips=True, checkpointing=True
        ),
    ),
)
