"""A small PatchScaler from its configuration.

See `upframe.systems.diffusion.configuration`. The state dict is that of `PatchScaler`,
and ``memory`` if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from upframe.errors import UsageError
from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.configuration import SystemSizes, invalid, read_sizes
from upframe.systems.patchscaler.config import PatchScalerConfig, Sizes
from upframe.systems.patchscaler.model import PatchScaler
from upframe.systems.patchscaler.sampling import Grouping
from upframe.systems.patchscaler.texture_memory import TextureMemory


class PatchScalerSizes(SystemSizes):
    """Configuration of ``patchscaler``."""

    sizes: Sizes
    """Fields of `Sizes`."""
    grouping: Grouping = Grouping()
    """Fields of `Grouping`; each group is ``{"start": τ, "steps": N}``."""
    scale: Literal[4] = 4
    patch: int = 16
    overlap: int = 4
    references: int = 4
    memory: int = Field(default=0, ge=0)
    """Textures in the memory, whose ``memory.keys`` and ``memory.values`` are part of
    the weights; 0 for a system without memory."""


def build_patchscaler(config: Mapping[str, Any]) -> PatchScaler:
    """PatchScaler from the fields of `PatchScalerSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration is invalid.
    """
    sizes = read_sizes(PatchScalerSizes, "PatchScaler", config)
    try:
        numbers = PatchScalerConfig(
            sizes=sizes.sizes,
            grouping=sizes.grouping,
            scale=sizes.scale,
            patch=sizes.patch,
            overlap=sizes.overlap,
            references=sizes.references,
        )
        system = PatchScaler(Autoencoder(sizes.autoencoder), numbers)
    except (TypeError, ValueError, UsageError) as error:
        raise invalid("PatchScaler", str(error)) from error
    if sizes.memory:
        width, channels = sizes.sizes.classifier[-1], sizes.autoencoder.latent_channels
        memory = TextureMemory(
            torch.zeros(sizes.memory, width),
            torch.zeros(sizes.memory, channels, sizes.patch, sizes.patch),
            classifier="of the same file",
        )
        system.memory = memory
    return system
