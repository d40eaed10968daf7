"""The diffusion systems among those that loading knows.

Their sizes do not follow from shapes: a weight file carries its configuration (see
`upframe.systems.diffusion.nano`). What they need is measured on a small clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from upframe.weights.detector import Detector, Needs

if TYPE_CHECKING:
    from torch import nn

    from upframe.systems.ultravsr.model import UltraVSR

_SIDE = 32
"""Pixels of the clip on which needs are measured."""
BASE_BYTES = 384 * 2**20
"""What torch and diffusers take; measured: 474 MiB with the engine, 63 without."""
_OVERLAP = 32
"""Input pixels that UltraVSR's tiles share."""


def _build(system: str, config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.diffusion import nano

    builders: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
        "ultravsr": nano.build_ultravsr,
        "oasis": nano.build_oasis,
        "liftvsr": nano.build_liftvsr,
        "patchscaler": nano.build_patchscaler,
    }
    return builders[system](config)


def _ultravsr_needs(config: Mapping[str, Any]) -> Needs:
    import torch

    from upframe.systems.diffusion.nano import build_ultravsr

    with torch.device("meta"):
        model = build_ultravsr(config)
    return ultravsr_needs(model, *_measured("ultravsr", config, frames=3))


def ultravsr_needs(model: UltraVSR, size: int, work: float) -> Needs:
    """Of an UltraVSR of any size.

    Args:
        model: may be on the meta device.
        size: bytes per input pixel.
        work: GFLOPs per million input pixels and frame.
    """
    from upframe.systems.ultravsr.model import OPENING
    from upframe.systems.ultravsr.rts import RecurrentTemporalShift

    shifts = [m for m in model.modules() if isinstance(m, RecurrentTemporalShift)]
    # as far as it looks, and as many frames as the estimator wants to see
    context = max(sum(shift.reach for shift in shifts), OPENING - 1)
    # a tile is a whole number of latents, and those halve at each level of the UNet
    levels = len(model.unet.config.block_out_channels)
    return Needs(
        multiple=model.factor // model.scale * 2 ** (levels - 1),
        min_size=1,
        overlap=_OVERLAP,
        bytes_per_pixel=size,
        gflops_per_megapixel=work,
        context=context,
        lookahead=context,
        seeded=True,
        tiling="own",
        base_bytes=BASE_BYTES,
    )


def _oasis_needs(config: Mapping[str, Any]) -> Needs:
    from upframe.systems.diffusion.nano import OASISSizes

    cut = OASISSizes.model_validate(dict(config)).chunking
    size, work = _measured("oasis", config, frames=cut.length)
    context = cut.context + cut.blend
    return whole_needs(size, work, context=context, lookahead=context, seeded=True)


def _liftvsr_needs(config: Mapping[str, Any]) -> Needs:
    from upframe.systems.diffusion.nano import LiftVSRSizes

    segment = LiftVSRSizes.model_validate(dict(config)).liftvsr.segment
    size, work = _measured("liftvsr", config, frames=segment)
    return whole_needs(size, work, segment=segment, seeded=True)


def _patchscaler_needs(config: Mapping[str, Any]) -> Needs:
    size, work = _measured("patchscaler", config, frames=1)
    return whole_needs(size, work, masked=True, seeded=True)


def whole_needs(size: int, work: float, **more: Any) -> Needs:
    """Of systems that see a frame as a whole and pad it themselves."""
    return Needs(
        multiple=1,
        min_size=1,
        overlap=16,
        bytes_per_pixel=size,
        gflops_per_megapixel=work,
        tiling="none",
        base_bytes=BASE_BYTES,
        **more,
    )


def _measured(system: str, config: Mapping[str, Any], frames: int) -> tuple[int, float]:
    """Bytes per input pixel, and GFLOPs per million of them and frame, of a network
    with random weights."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from upframe.systems.diffusion.live_memory import live_bytes

    with torch.random.fork_rng(devices=[]):
        network = _build(system, config).eval()
        clip = torch.rand(1, frames, 3, _SIDE, _SIDE)
    work = FlopCounterMode(display=False)
    with work:
        live = live_bytes(lambda: network(clip))
    pixels = _SIDE**2
    flops = int(work.get_total_flops()) / frames / pixels
    return -(-live // pixels), round(flops / 1e3, 1)


def _system(
    name: str, title: str, key: str, needs: Callable[[Mapping[str, Any]], Needs]
) -> Detector:
    """A system that is known by one tensor of its own beside an autoencoder."""
    return Detector(
        system=name,
        title=title,
        matches=lambda shapes: key in shapes and _DECODER in shapes,
        deduce=None,
        hidden={},
        build=partial(_build, name),
        needs=lambda config, _: needs(config),
        scale=4,
    )


_DECODER = "vae.decoder.conv_in.weight"

DIFFUSION = (
    _system("ultravsr", "UltraVSR", "unet.conv_in.weight", _ultravsr_needs),
    _system("oasis", "OASIS", "transformer.patch_embedding.weight", _oasis_needs),
    _system("liftvsr", "LiftVSR", "transformer.condition.weight", _liftvsr_needs),
    _system(
        "patchscaler", "PatchScaler", "restoration.conv_in.weight", _patchscaler_needs
    ),
)
"""The diffusion systems."""
