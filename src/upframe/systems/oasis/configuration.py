"""A small OASIS from its configuration (`upframe.systems.diffusion.configuration`).

The state dict is that of `OASIS`, without ``vae.encoder`` and what its prompt of one
token leaves unused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from upframe.errors import UsageError
from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.configuration import (
    SystemSizes,
    build_backbone,
    check_scale,
    first_error,
    invalid,
    read_sizes,
)
from upframe.systems.oasis.chunks import Chunking
from upframe.systems.oasis.files import OasisConfig
from upframe.systems.oasis.head_routing import Routing
from upframe.systems.oasis.model import OASIS


class ChunkSizes(BaseModel):
    """Fields of `upframe.systems.oasis.model.Chunking`, in latent frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(default=9, ge=1)
    context: int = Field(default=1, ge=0)
    blend: int = Field(default=2, ge=0)


class OASISSizes(SystemSizes):
    """Configuration of ``oasis``."""

    transformer: dict[str, Any]
    """Arguments of diffusers' ``WanTransformer3DModel``."""
    oasis: dict[str, Any] = Field(default_factory=dict)
    """Fields of `OasisConfig`."""
    routing: Routing | None = None
    """Of the heads, as a routing file has it; None leaves all global."""
    chunking: ChunkSizes = ChunkSizes()
    """How long clips are cut."""


def build_oasis(config: Mapping[str, Any]) -> OASIS:
    """OASIS from the fields of `OASISSizes`; its autoencoder has no encoder, and its
    cross-attention neither queries nor keys.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration is invalid.
    """
    sizes = read_sizes(OASISSizes, "OASIS", config)
    try:
        Chunking(**sizes.chunking.model_dump())
        numbers = OasisConfig(**sizes.oasis)
    except UsageError as error:
        raise invalid("OASIS", error.message) from error
    except ValidationError as error:
        raise invalid("OASIS", first_error(error)) from error
    check_scale("OASIS", numbers.scale)
    autoencoder = Autoencoder(sizes.autoencoder)
    del autoencoder.encoder
    transformer = build_backbone("WanTransformer3DModel", sizes.transformer)
    _drop_unused(transformer)
    return OASIS(transformer, autoencoder, numbers, sizes.routing)


def _drop_unused(transformer: Any) -> None:
    """Take from diffusers' ``WanTransformer3DModel`` what a prompt of one token has no
    use for: attention to it is its value, whatever queries and keys are."""
    for block in transformer.blocks:
        block.norm2 = nn.Identity()
        for name in ("to_q", "to_k", "norm_q", "norm_k"):
            delattr(block.attn2, name)
