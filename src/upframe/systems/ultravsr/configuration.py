"""A small UltraVSR from its configuration (`upframe.systems.diffusion.configuration`).

The state dict is that of `UltraVSR`: ``unet``, ``vae``, ``estimator``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.configuration import (
    SystemSizes,
    build_backbone,
    invalid,
    read_sizes,
)
from upframe.systems.ultravsr.degradation_estimator import DegradationEstimator
from upframe.systems.ultravsr.model import UltraVSR

TIMESTEPS = 1000


class EstimatorSizes(BaseModel):
    """Arguments of `DegradationEstimator`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=24, ge=1)
    levels: int = Field(default=4, ge=1)


class UltraVSRSizes(SystemSizes):
    """Configuration of ``ultravsr``; estimator or factor, one of them."""

    unet: dict[str, Any]
    """Arguments of diffusers' ``UNet2DConditionModel``, one without text (no
    cross-attention); temporal modules come by themselves."""
    betas: tuple[float, float] = (0.00085, 0.012)
    """First and last β of the 1000 timesteps, as Stable Diffusion spaces them."""
    estimator: EstimatorSizes | None = None
    """Of the network that estimates how clean a clip is."""
    factor: float | None = Field(default=None, ge=0, le=1)
    """How clean every clip is taken to be, where there is no estimator."""
    scale: Literal[4] = 4
    colours: Literal["wavelet", "adain", "none"] = "wavelet"
    """Colour correction; see `upframe.nn.colour`."""


class FixedFactor(nn.Module):
    """An estimator that takes all images to be equally clean.

    Args:
        factor: 0 to 1, 1 for clean.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B,)."""
        return images.new_full((len(images),), self.factor)


def build_ultravsr(config: Mapping[str, Any]) -> UltraVSR:
    """UltraVSR from the fields of `UltraVSRSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration is invalid.
    """
    sizes = read_sizes(UltraVSRSizes, "UltraVSR", config)
    if (sizes.estimator is None) == (sizes.factor is None):
        raise invalid("UltraVSR", "it needs either an estimator or a factor")
    estimator: nn.Module
    if sizes.estimator is not None:
        estimator = DegradationEstimator(**sizes.estimator.model_dump())
    else:
        assert sizes.factor is not None
        estimator = FixedFactor(sizes.factor)
    unet = build_backbone("UNet2DConditionModel", sizes.unet)
    first, last = (beta**0.5 for beta in sizes.betas)
    betas = torch.linspace(first, last, TIMESTEPS) ** 2
    return UltraVSR(
        unet,
        Autoencoder(sizes.autoencoder),
        torch.cumprod(1 - betas, 0),
        estimator=estimator,
        scale=sizes.scale,
        colours=sizes.colours,
    )
