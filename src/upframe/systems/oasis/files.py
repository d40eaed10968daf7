"""What lies in the folder of an OASIS beside its components' weights.

Part of `upframe.systems.oasis`::

    oasis.json            configuration, SHA-256 of all other files
    routing.json          what each head sees; see `upframe.systems.oasis.head_routing`
    prompt.safetensors    embedding of the prompt
    transformer/, vae/    Wan and the autoencoder, as diffusers writes them
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from upframe.systems.diffusion import components
from upframe.systems.diffusion.components import PinnedConfig
from upframe.systems.oasis.initial_estimate import EstimateConfig

CONFIG, ROUTING, PROMPT = "oasis.json", "routing.json", "prompt.safetensors"
_PARTS = (ROUTING, PROMPT, "transformer/", "vae/")


class OasisConfig(PinnedConfig):
    """The configuration in ``oasis.json``."""

    scale: int = Field(default=4, ge=1)
    """Output size over input size; divides the decoder's factor."""
    timestep: float = Field(default=399.0, ge=0, le=1000)
    noise_level: float = Field(default=0.0, ge=0, le=1)
    """Share of noise in the input."""
    guess: EstimateConfig | None = None
    """Convolutions that the transformer's output is added to; None for none."""
    autoencoder: Literal["AutoencoderKLWan", "AutoencoderKL"] = "AutoencoderKLWan"


def read_config(path: Path) -> OasisConfig:
    """The configuration of the file.

    Raises:
        WeightsError: it is missing, is not valid, or pins not all components.
    """
    return components.read_config(
        OasisConfig, path, _PARTS, maker="OASIS", origin="from_wan"
    )


def write_config(config: OasisConfig, folder: Path) -> None:
    """Write ``oasis.json``, pinning the files that are there."""
    components.write_config(config, folder / CONFIG, _PARTS)
