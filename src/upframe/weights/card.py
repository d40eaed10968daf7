"""Model cards: what a set of weights is, needs, and scored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from upframe.systems.names import Tiling, canonical_name


class WeightFile(BaseModel):
    """One file of a model, by name and content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """File name below the folder that holds the card."""
    sha256: str
    """SHA-256 of the whole file, 64 hex digits."""
    bytes: int
    """Size of the file."""


class ModelCard(BaseModel):
    """Everything upframe must know of a model before it runs it.

    Stored as ``<name>.json`` beside the weight files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """``<system>-<size>[-<kind>]``, for example ``ditn-s``."""
    system: str
    """The published system: ``ditn``, ``mia-vsr``, ... or ``resampling``."""
    scale: int
    """Output size over input size, per axis."""
    summary: str
    """One line for people."""
    licence: str
    """SPDX identifier of the weights."""
    parameters: int = 0
    """Number of trained values."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the system's constructor."""
    files: dict[str, WeightFile] = Field(default_factory=dict)
    """Weight files by format: ``onnx``, ``safetensors``, ... ; video models have a
    second graph, ``onnx-masked``, and perhaps both in int8, ``onnx-int8`` and
    ``onnx-int8-masked``."""

    multiple: int = 1
    """Input height and width are padded to a multiple of this by the runtime."""
    min_size: int = 1
    """Smallest input height and width that the network takes, in pixels."""
    overlap: int = 16
    """Input pixels that neighbouring tiles share so that no seam shows."""
    context: int = 0
    """Frames that a chunk needs on both sides of its core; 0 for image models."""
    lookahead: int | None = None
    """Later frames that an output depends on; it comes so many pushes late. None for
    image models, and for systems that need a chunk as a whole."""
    masked: bool = False
    """Whether it can leave parts of a frame uncomputed: takes a keep ratio."""
    segment: int = 1
    """Frames that are computed together; chunks are whole multiples of it, up to a
    cut."""
    seeded: bool = False
    """Whether it samples noise and takes a seed."""
    tiling: Tiling = "pictures"
    """What can be done with frames that do not fit into memory."""
    base_bytes: int = 0
    """Memory that its libraries take besides, in bytes; 0 for those of the core."""
    bytes_per_pixel: int = 64
    """Peak working memory of the runtime per input pixel, measured, in bytes."""
    gflops_per_megapixel: float = 0.0
    """Billions of multiply-adds times two, per million input pixels and frame."""

    recipe: str = ""
    """Path of the recipe in the repository that makes these weights."""
    data: str = ""
    """What they were trained on."""
    steps: int = 0
    """Training steps."""
    scores: dict[str, Any] = Field(default_factory=dict)
    """Measured scores, in float: protocol and clip to metric to value."""
    int8_loss: float | None = None
    """PSNR-Y, in dB, that int8 loses on the validation clips, measured; None without
    such graphs."""

    @field_validator("system")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        return canonical_name(name)
