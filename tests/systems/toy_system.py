"""A system of another package: two convolutions on top of nearest neighbours."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.shapes import shuffle_scale, side
from upframe.systems.spec import (
    Config,
    Lazy,
    Requirements,
    Shapes,
    SystemSpec,
    TrainingTask,
)
from upframe.systems.training_step import StepResult


class Toy(nn.Module):
    """Takes (B, 3, h, w) or (B, T, 3, h, w), RGB in [0, 1]."""

    def __init__(self, width: int = 8, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.toy_first = nn.Conv2d(3, width, 3, padding=1)
        self.toy_last = nn.Conv2d(width, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 5:
            return self(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        details = F.pixel_shuffle(self.toy_last(F.relu(self.toy_first(x))), self.scale)
        return F.interpolate(x, scale_factor=float(self.scale)) + details

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        return StepResult(self(low), high)


def matches(shapes: Shapes) -> bool:
    return "toy_first.weight" in shapes


def infer_config(shapes: Shapes) -> dict[str, Any]:
    width = side(shapes, "toy_first.weight", 0)
    return {"width": width, "scale": shuffle_scale(shapes, "toy_last.weight")}


def requirements(config: Config, shapes: Shapes) -> Requirements:
    del shapes
    multiply_adds = 9 * config["width"] * (3 + 3 * config["scale"] ** 2)
    return Requirements(
        bytes_per_pixel=4 * (2 * config["width"] + 12 * config["scale"] ** 2),
        gflops_per_megapixel=2 * multiply_adds / 1e3,
    )


SPEC = SystemSpec(
    name="toy",
    title="Toy",
    paper="",
    build=lambda config: Toy(**config),
    matches=matches,
    infer_config=infer_config,
    requirements=requirements,
    tasks=(TrainingTask("toy", Toy),),
    export=Lazy("upframe.export.onnx:export_image_model"),
)
