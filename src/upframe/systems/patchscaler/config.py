"""PatchScaler's numbers: sizes of its networks, the system's own, and of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from upframe.errors import UsageError
from upframe.nn.images import colour_fixes
from upframe.systems.patchscaler.sampling import Grouping


@dataclass(frozen=True)
class Sizes:
    """Of the networks; the defaults are the full size, our choice."""

    restoration: tuple[int, ...] = (128, 256, 512)
    """Channels of the restoration module per level."""
    blocks: int = 4
    """Its residual blocks per level and direction."""
    layers: int = 12
    """Of Patch-DiT."""
    heads: int = 12
    head_width: int = 64
    token: int = 2
    """Side of the latents that are one token of Patch-DiT; divides the patch."""
    classifier: tuple[int, ...] = (64, 128, 256)
    classes: int = 47
    """Of textures; 0 where the classifier was trained without (no head)."""


@dataclass(frozen=True)
class PatchScalerConfig:
    """The system's own numbers.

    Raises:
        UsageError: patches cannot be cut into tokens, or overlap wholly.
    """

    sizes: Sizes = field(default_factory=Sizes)
    grouping: Grouping = field(default_factory=Grouping)
    scale: int = 4
    patch: int = 16
    """Side of a patch in latents; a multiple of 4."""
    overlap: int = 4
    """Latents that neighbouring patches share at least."""
    references: int = 4
    """K, of the texture prompt."""

    def __post_init__(self) -> None:
        uneven = self.patch % 4 or self.patch % self.sizes.token
        if self.patch < 4 or uneven or not 0 <= self.overlap < self.patch:
            raise UsageError(
                f"Patches of {self.patch} that overlap by {self.overlap} do not work.",
                "Give a multiple of 4 and of a token, and a smaller overlap.",
            )


@dataclass(frozen=True)
class Options:
    """How a video is run.

    Raises:
        UsageError: a number is out of range.
    """

    seed: int = 0
    noise: Literal["fixed", "frame"] = "fixed"
    """``fixed``: the same in every frame; ``frame``: depends on the number of the
    frame."""
    first_index: int = 0
    """Number of the first frame in its video, for noise of its own in every frame."""
    keep_ratio: float | None = None
    """Steps to spend, as a share of all patches being hard; see `Grouping.assign`."""
    batch: int = 64
    """Patches that Patch-DiT sees at once."""
    colours: str = "wavelet"
    """Colour correction: ``wavelet``, ``adain`` or ``none``."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.first_index < 0 or self.colours not in colour_fixes:
            raise UsageError(
                f"These options do not work: {self}.",
                f"A batch has 1 patch or more; colours are {', '.join(colour_fixes)}.",
            )
