"""The diffusion systems from one configuration: built whole, ready for their weights.

A full-size system is put together from folders of pretrained components. A small one,
trained here, is one file: weights and, in words that JSON knows, the sizes of all its
parts. Each ``build_*`` function below takes that configuration as a mapping, checks it,
and makes the module, with random weights, on torch's current default device. Its state
dict is what the file holds. The keys are the fields of the class named beside it:

============ ===================== ==================================================
system       configuration         state dict
============ ===================== ==================================================
ultravsr     `UltraVSRSizes`       of `UltraVSR`: ``unet``, ``vae``, ``estimator``
oasis        `OASISSizes`          of `OASIS`, without ``vae.encoder`` and what
                                   its prompt of one token leaves unused
liftvsr      `LiftVSRSizes`        of `LiftVSR`: ``transformer``, ``vae``, ``prompt``
patchscaler  `PatchScalerSizes`    of `PatchScaler`, and ``memory`` if there is one
============ ===================== ==================================================

All four have our own autoencoder (`upframe.systems.diffusion.autoencoder`) and enlarge
4 times. LoRA is merged before weights are stored: no configuration has adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.liftvsr.files import LiftVSRConfig
from upframe.systems.oasis.head_routing import Routing
from upframe.systems.patchscaler.config import PatchScalerConfig, Sizes
from upframe.systems.patchscaler.sampling import Grouping
from upframe.systems.ultravsr.degradation_estimator import DegradationEstimator
from upframe.systems.ultravsr.model import UltraVSR

if TYPE_CHECKING:
    from upframe.systems.liftvsr.model import LiftVSR
    from upframe.systems.oasis.model import OASIS
    from upframe.systems.patchscaler.model import PatchScaler

TIMESTEPS = 1000


class _Sizes(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    autoencoder: AutoencoderConfig
    """Fields of `AutoencoderConfig`, ``scaling_factor`` among them."""


class EstimatorSizes(BaseModel):
    """Arguments of `DegradationEstimator`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=24, ge=1)
    levels: int = Field(default=4, ge=1)


class UltraVSRSizes(_Sizes):
    """Configuration of ``ultravsr``; estimator or factor, one of them."""

    unet: dict[str, Any]
    """Arguments of diffusers' ``UNet2DConditionModel``, one without text (no
    cross-attention); temporal modules come by themselves."""
    betas: tuple[float, float] = (0.00085, 0.012)
    """First and last β of the 1000 timesteps, as Stable Diffusion spaces them."""
    estimator: EstimatorSizes | None = None
    """Of the network that says how clean a clip is."""
    factor: float | None = Field(default=None, ge=0, le=1)
    """How clean every clip is taken to be, where there is no estimator."""
    scale: Literal[4] = 4
    colours: Literal["wavelet", "adain", "none"] = "wavelet"
    """Colour correction; see `upframe.nn.colour`."""


class ChunkSizes(BaseModel):
    """Fields of `upframe.systems.oasis.model.Chunking`, in latent frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(default=9, ge=1)
    context: int = Field(default=1, ge=0)
    blend: int = Field(default=2, ge=0)


class OASISSizes(_Sizes):
    """Configuration of ``oasis``."""

    transformer: dict[str, Any]
    """Arguments of diffusers' ``WanTransformer3DModel``."""
    oasis: dict[str, Any] = Field(default_factory=dict)
    """Fields of `OasisConfig`."""
    routing: Routing | None = None
    """Of the heads, as a routing file has it; None leaves all global."""
    chunking: ChunkSizes = ChunkSizes()
    """How long clips are cut."""


class LiftVSRSizes(_Sizes):
    """Configuration of ``liftvsr``."""

    pixart: dict[str, Any]
    """Arguments of diffusers' ``PixArtTransformer2DModel``."""
    liftvsr: LiftVSRConfig = LiftVSRConfig(rank=0)
    """Fields of `LiftVSRConfig`, with ``rank`` 0."""
    prompt_tokens: int = Field(default=1, ge=1)
    """Length of the one prompt that is part of the weights."""


class PatchScalerSizes(_Sizes):
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


class FixedFactor(nn.Module):
    """An estimator that takes all pictures to be equally clean.

    Args:
        factor: 0 to 1, 1 for clean.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) to (B,)."""
        return pictures.new_full((len(pictures),), self.factor)


def build_ultravsr(config: Mapping[str, Any]) -> UltraVSR:
    """UltraVSR from the fields of `UltraVSRSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration makes no sense.
    """
    sizes = _read(UltraVSRSizes, config)
    if (sizes.estimator is None) == (sizes.factor is None):
        raise _nonsense("UltraVSR", "it needs either an estimator or a factor")
    estimator: nn.Module
    if sizes.estimator is not None:
        estimator = DegradationEstimator(**sizes.estimator.model_dump())
    else:
        assert sizes.factor is not None
        estimator = FixedFactor(sizes.factor)
    unet = _part("UNet2DConditionModel", sizes.unet)
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


def build_oasis(config: Mapping[str, Any]) -> OASIS:
    """OASIS from the fields of `OASISSizes`; its autoencoder has no encoder, and its
    cross-attention neither queries nor keys.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration makes no sense.
    """
    from upframe.systems.oasis.model import OASIS, Chunking, OasisConfig

    sizes = _read(OASISSizes, config)
    try:
        Chunking(**sizes.chunking.model_dump())
        numbers = OasisConfig(**sizes.oasis)
    except UsageError as error:
        raise _nonsense("OASIS", error.message) from error
    except ValidationError as error:
        raise _nonsense("OASIS", _first(error)) from error
    _check_scale("OASIS", numbers.scale)
    autoencoder = Autoencoder(sizes.autoencoder)
    del autoencoder.encoder
    transformer = _part("WanTransformer3DModel", sizes.transformer)
    _drop_unused(transformer)
    return OASIS(transformer, autoencoder, numbers, sizes.routing)


def _drop_unused(transformer: Any) -> None:
    """Take from diffusers' ``WanTransformer3DModel`` what a prompt of one token has no
    use for: attention to it is its value, whatever queries and keys are."""
    for block in transformer.blocks:
        block.norm2 = nn.Identity()
        for name in ("to_q", "to_k", "norm_q", "norm_k"):
            delattr(block.attn2, name)


def build_liftvsr(config: Mapping[str, Any]) -> LiftVSR:
    """LiftVSR from the fields of `LiftVSRSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration makes no sense.
    """
    from upframe.systems.liftvsr.model import LiftVSR

    sizes = _read(LiftVSRSizes, config)
    if sizes.liftvsr.rank:
        raise _nonsense("LiftVSR", "LoRA must be merged, with a rank of 0")
    _check_scale("LiftVSR", sizes.liftvsr.scale)
    pixart = _part("PixArtTransformer2DModel", sizes.pixart)
    system = LiftVSR(pixart, Autoencoder(sizes.autoencoder), sizes.liftvsr)
    system.prompt = system.prompt.repeat(1, sizes.prompt_tokens, 1)
    return system


def build_patchscaler(config: Mapping[str, Any]) -> PatchScaler:
    """PatchScaler from the fields of `PatchScalerSizes`.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the configuration makes no sense.
    """
    from upframe.systems.patchscaler.model import PatchScaler
    from upframe.systems.patchscaler.texture_memory import TextureMemory

    sizes = _read(PatchScalerSizes, config)
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
        raise _nonsense("PatchScaler", str(error)) from error
    if sizes.memory:
        width, channels = sizes.sizes.classifier[-1], sizes.autoencoder.latent_channels
        memory = TextureMemory(
            torch.zeros(sizes.memory, width),
            torch.zeros(sizes.memory, channels, sizes.patch, sizes.patch),
            classifier="of the same file",
        )
        system.memory = memory
    return system


_Config = TypeVar("_Config", bound=_Sizes)


def _read(kind: type[_Config], config: Mapping[str, Any]) -> _Config:
    name = kind.__name__.removesuffix("Sizes")
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        raise _nonsense(name, _first(error)) from error
    except UsageError as error:
        raise _nonsense(name, error.message) from error


def _part(name: str, arguments: Mapping[str, Any]) -> Any:
    """A backbone of diffusers by the name of its class."""
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError("A diffusion system", "diffusion") from error
    try:
        return getattr(diffusers, name)(**arguments)
    # what its constructors make of nonsense: unknown names, sides that do not divide
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _nonsense(name, text) from error


def _check_scale(what: str, scale: int) -> None:
    if scale != 4:
        raise _nonsense(what, f"a scale of {scale} instead of 4")


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _nonsense(what: str, why: str) -> WeightsError:
    return WeightsError(
        f"The configuration of this {what} makes no sense: {why.rstrip('.')}.",
        "Check the config that was saved with the weights.",
    )
