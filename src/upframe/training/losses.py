"""The sum of losses that a recipe names, but for the adversarial one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.metrics import dists, lpips
from upframe.metrics.files import find_file
from upframe.training.features import (
    DISTSDistance,
    LPIPSDistance,
    PerceptualDistance,
)
from upframe.training.recipe import (
    AnyLoss,
    DISTSLoss,
    GridLoss,
    LPIPSLoss,
    PerceptualLoss,
    PixelLoss,
)

_Distance = Callable[[Tensor, Tensor], Tensor]


def charbonnier(result: Tensor, target: Tensor) -> Tensor:
    """sqrt(d² + 1e-6) per value, mean."""
    return ((result - target).square() + 1e-6).sqrt().mean()


def l1(result: Tensor, target: Tensor) -> Tensor:
    """Absolute difference per value, mean."""
    return (result - target).abs().mean()


class GridDistance:
    """Error that repeats with a period, as checkerboard artifacts do.

    Natural errors differ from period to period and average out over a window; what a
    pixel shuffle draws everywhere alike stays. Charbonnier hardly sees it: it is small
    against the error of every pixel.
    """

    def __init__(self, period: int, window: int) -> None:
        self.period, self.window = period, window

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        """Mean absolute value; (B, 3, h, w), sides are multiples of the period and at
        least a window long."""
        period, window = self.period, self.window
        places = F.pixel_unshuffle(result - target, period)
        places = places.view(len(places), -1, period**2, *places.shape[2:])
        places = (places - places.mean(2, keepdim=True)).flatten(1, 2)
        local = F.avg_pool2d(places, window, stride=max(1, window // 2))
        return local.abs().mean()


_PIXELS: dict[str, _Distance] = {"charbonnier": charbonnier, "l1": l1}


def as_images(frames: Tensor) -> Tensor:
    """(B, 3, h, w) or (B, T, 3, h, w) to (B * T, 3, h, w)."""
    return frames.reshape(-1, *frames.shape[-3:])


def lpips_file(config: LPIPSLoss) -> Path:
    """The weights of LPIPS: the recipe's, or where the metric finds them.

    Raises:
        WeightsError: they are nowhere.
    """
    return config.weights or find_file(lpips.FILE, "LPIPS")


class Losses:
    """Weighted distances of a result and its original."""

    def __init__(
        self,
        configs: Sequence[AnyLoss],
        device: torch.device,
    ) -> None:
        """Make them; ``gan`` is left to :mod:`upframe.training.adversary`.

        Raises:
            WeightsError: if a file of weights cannot be read or is another.
        """
        self._parts: dict[str, tuple[float, _Distance]] = {}
        for config in configs:
            if isinstance(config, PixelLoss):
                distance = _PIXELS[config.name]
            elif isinstance(config, LPIPSLoss):
                distance = LPIPSDistance(lpips_file(config), config.shift).to(device)
            elif isinstance(config, DISTSLoss):
                file = config.weights or find_file(dists.FILE, "DISTS")
                distance = DISTSDistance(file, config.pictures).to(device)
            elif isinstance(config, PerceptualLoss):
                network = PerceptualDistance(config.weights, config.layers)
                distance = network.to(device)
            elif isinstance(config, GridLoss):
                distance = GridDistance(config.period, config.window)
            else:
                continue
            self._parts[config.name] = config.weight, distance

    def __call__(self, result: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each loss by name, times its weight.

        Args:
            result: (B, 3, h, w) or (B, T, 3, h, w), not clipped.
            target: the same shape.
        """
        result, target = as_images(result), as_images(target)
        return {
            name: weight * distance(result, target)
            for name, (weight, distance) in self._parts.items()
        }
