"""What lies in the folder of a LiftVSR beside its components' weights.

Part of `upframe.systems.liftvsr`::

    liftvsr.json          configuration, SHA-256 of all other files
    liftvsr.safetensors   LoRA, condition's embedding, branches
    prompt.safetensors    embedding of the prompt
    transformer/, vae/    PixArt and the autoencoder, as diffusers writes them
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from upframe.systems.diffusion import components
from upframe.systems.diffusion.components import PinnedConfig

CONFIG, ADDED, PROMPT = "liftvsr.json", "liftvsr.safetensors", "prompt.safetensors"
_PARTS = (ADDED, PROMPT, "transformer/", "vae/")


class LiftVSRConfig(PinnedConfig):
    """The configuration in ``liftvsr.json``."""

    scale: int = Field(default=4, ge=1)
    """Output size over input size."""
    segment: int = Field(default=8, ge=1)
    """Frames that are restored together."""
    steps: int = Field(default=4, ge=1)
    """Of the sampler."""
    start: int = Field(default=999, ge=0, le=999)
    """Time of the first step."""
    rank: int = Field(default=16, ge=0)
    """Of the LoRA; 0 once it is merged."""
    token_flow: bool = True
    """False for plain attention along time, to compare with."""
    memory: bool = True
    """False for segments that know nothing of each other, to compare with."""
    colours: Literal["wavelet", "adain", "none"] = "wavelet"
    """Colour correction; see `upframe.nn.colour`."""


def read_config(path: Path) -> LiftVSRConfig:
    """The configuration of the file.

    Raises:
        WeightsError: it is missing, is not valid, or pins not all components.
    """
    return components.read_config(
        LiftVSRConfig, path, _PARTS, maker="LiftVSR", origin="from_pixart"
    )


def write_config(config: LiftVSRConfig, folder: Path) -> None:
    """Write ``liftvsr.json``, pinning the files that are there."""
    components.write_config(config, folder / CONFIG, _PARTS)
