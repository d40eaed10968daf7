"""What upframe knows of DITN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from upframe.systems.shapes import count, expansion, shuffle_scale, side
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


def _matches(shapes: Shapes) -> bool:
    typical = ("sft.weight", "conv_after_body.weight", "upsample.0.weight")
    return all(key in shapes for key in typical) and count(shapes, "UFONE.") > 0


def _infer_config(shapes: Shapes) -> dict[str, Any]:
    dim = side(shapes, "sft.weight", 0)
    n_itl = count(shapes, "UFONE.0.ITLs.")
    n_sal = count(shapes, "UFONE.0.SALs.")
    layer = "UFONE.0.ITLs.0." if n_itl else "UFONE.0.SALs.0."
    hidden = side(shapes, f"{layer}ffn.project_out.weight", 1)
    return {
        "scale": shuffle_scale(shapes, "upsample.0.weight"),
        "dim": dim,
        "n_itl": n_itl,
        "n_sal": n_sal,
        "n_ufone": count(shapes, "UFONE."),
        "expansion": expansion(dim, hidden),
        "norm": "layer" if f"{layer}norm1.body.weight" in shapes else "tanh",
        "residual": "residual_path" in shapes,
    }


def _requirements(config: Config, shapes: Shapes) -> Requirements:
    dim, scale, n_ufone = config["dim"], config["scale"], config["n_ufone"]
    hidden = int(dim * config["expansion"])
    patch = config.get("patch", 8)
    # Every layer works at the input's size: each weight is used once per pixel. The
    # two products of the attention, C x C x N per patch of N, are no weights.
    multiply_adds = sum(math.prod(s) for s in shapes.values() if len(s) in (2, 4))
    multiply_adds += 2 * dim**2 * config["n_itl"] * n_ufone
    # A SAL looks 12 pixels far. Tiles of DITN_Real that share 48 pixels differ from the
    # whole image by 1 of 255 at most (calendar of Vid4), with 32 by 3, with 16 by 8.
    reach = 12 * config["n_sal"] * n_ufone
    return Requirements(
        multiple=patch,
        min_size=max(16, patch),
        overlap=min(64, max(16, -(-reach // patch) * patch)),
        # Measured with torch on 640x480 for dim 16 to 60 and expansion 1 to 4: the
        # feed-forward layers hold four hidden maps, small networks their output.
        bytes_per_pixel=4 * max(5 * dim + 4 * hidden, 24 * scale**2),
        gflops_per_megapixel=round(2 * multiply_adds / 1e3, 1),
    )


def _build(config: Config) -> nn.Module:
    from upframe.systems.ditn.model import DITN

    return DITN(**config)


_MODULE = "upframe.systems.ditn.model"

SPEC = SystemSpec(
    name="ditn",
    title="DITN",
    paper="Liu et al., Unfolding Once is Enough: A Deployment-Friendly Transformer "
    "Unit for Super-Resolution, ACM MM 2023",
    build=_build,
    matches=_matches,
    infer_config=_infer_config,
    declared={"patch": lambda value: type(value) is int and 1 <= value <= 64},
    requirements=_requirements,
    cuda_precision="fp16",
    tasks=(TrainingTask("ditn", Lazy(f"{_MODULE}:DITN")),),
    export=Lazy("upframe.export.onnx:export_onnx"),
)
