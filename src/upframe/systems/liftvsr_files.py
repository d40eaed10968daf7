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

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upframe.errors import WeightsError
from upframe.systems.components import file_sha256

CONFIG, ADDED, PROMPT = "liftvsr.json", "liftvsr.safetensors", "prompt.safetensors"
_PARTS = (ADDED, PROMPT, "transformer/", "vae/")


class LiftVSRConfig(BaseModel):
    """What ``liftvsr.json`` says beside the components."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
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
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the components' files by path."""


def read_config(path: Path) -> LiftVSRConfig:
    """What the file says.

    Raises:
        WeightsError: it is missing, is not valid, or pins not all components.
    """
    try:
        config = LiftVSRConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}.",
            "Name a folder that LiftVSR.save_pretrained wrote; begin with from_pixart.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(
            f"{path} is not valid: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
            "Copy the folder again, or update upframe.",
        ) from error
    for part in _PARTS:
        if not any(name.startswith(part) for name in config.files):
            raise WeightsError(
                f"{path} names no files of {part.rstrip('/')}.",
                "Write the folder with LiftVSR.save_pretrained.",
            )
    return config


def write_config(config: LiftVSRConfig, folder: Path) -> None:
    """Write ``liftvsr.json``, pinning the files that are there."""
    written = [
        folder / ADDED,
        folder / PROMPT,
        *(folder / "transformer").iterdir(),
        *(folder / "vae").iterdir(),
    ]
    files = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(written)
    }
    pinned = config.model_copy(update={"files": files})
    (folder / CONFIG).write_text(pinned.model_dump_json(indent=1) + "\n")
