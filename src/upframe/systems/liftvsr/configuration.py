"""A small LiftVSR from its configuration (`upframe.systems.diffusion.configuration`).

The state dict is that of `LiftVSR`: ``transformer``, ``vae``, ``prompt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.configuration import (
    SystemSizes,
    build_backbone,
    check_scale,
    invalid,
    read_sizes,
)
from upframe.systems.liftvsr.files import LiftVSRConfig
from upframe.systems.liftvsr.model import LiftVSR


class LiftVSRSizes(SystemSizes):
    """Configuration of ``liftvsr``."""

    pixart: dict[str, Any]
    """Arguments of diffusers' ``PixArtTransformer2DModel``."""
    liftvsr: LiftVSRConfig = LiftVSRConfig(rank=0)
    """Fields of `LiftVSRConfig`, with ``rank`` 0."""
    prompt_tokens: int = Field(default=1, ge=1)
    """Length of the one prompt that is part of the weights."""


def build_liftvsr(config: Mapping[str, Any]) -> LiftVSR:
    """LiftVSR from the fields of `LiftVSRSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration is invalid.
    """
    sizes = read_sizes(LiftVSRSizes, "LiftVSR", config)
    if sizes.liftvsr.rank:
        raise invalid("LiftVSR", "LoRA must be merged, with a rank of 0")
    check_scale("LiftVSR", sizes.liftvsr.scale)
    pixart = build_backbone("PixArtTransformer2DModel", sizes.pixart)
    system = LiftVSR(pixart, Autoencoder(sizes.autoencoder), sizes.liftvsr)
    system.prompt = system.prompt.repeat(1, sizes.prompt_tokens, 1)
    return system
