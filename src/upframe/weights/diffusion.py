"""The diffusion systems among those that loading knows.

Their sizes do not follow from shapes: a weight file carries its configuration (see
`upframe.systems.nano`). What they need is measured on a small clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from upframe.weights.detector import Detector, Needs, Shapes

if TYPE_CHECKING:
    from torch import nn

_SIDE = 32
"""Pixels of the clip on which needs are measured."""
_BASE_BYTES = 384 * 2**20
"""What torch and diffusers take; measured: 474 MiB with the engine, 63 without."""
_OVERLAP = 32
"""Input pixels that UltraVSR's tiles share."""


def _build_ultravsr(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.nano import build_ultravsr

    return build_ultravsr(config)


def _build_oasis(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.nano import build_oasis

    return build_oasis(config)


def _build_liftvsr(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.nano import build_liftvsr

    return build_liftvsr(config)


def _build_patchscaler(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.nano import build_patchscaler

    return build_patchscaler(config)


def _ultravsr_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    del shapes
    import torch

    from upframe.nn.rts import RecurrentTemporalShift
    from upframe.systems.nano import build_ultravsr
    from upframe.systems.ultravsr import OPENING

    with torch.device("meta"):
        model = build_ultravsr(config)
    shifts = [m for m in model.modules() if isinstance(m, RecurrentTemporalShift)]
    # as far as it looks, and as many frames as the estimator wants to see
    context = max(sum(shift.reach for shift in shifts), OPENING - 1)
    # a tile is a whole number of latents, and those halve at each level of the UNet
    levels = len(model.unet.config.block_out_channels)
    size, work = _measured(_build_ultravsr, config, frames=3)
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
        base_bytes=_BASE_BYTES,
    )


def _oasis_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    del shapes
    from upframe.systems.nano import OASISSizes

    cut = OASISSizes.model_validate(dict(config)).chunking
    size, work = _measured(_build_oasis, config, frames=cut.length)
    context = cut.context + cut.blend
    return _whole(size, work, context=context, lookahead=context, seeded=True)


def _liftvsr_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    del shapes
    from upframe.systems.nano import LiftVSRSizes

    segment = LiftVSRSizes.model_validate(dict(config)).liftvsr.segment
    size, work = _measured(_build_liftvsr, config, frames=segment)
    return _whole(size, work, segment=segment, seeded=True)


def _patchscaler_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    del shapes
    size, work = _measured(_build_patchscaler, config, frames=1)
    return _whole(size, work, masked=True, seeded=True)


def _whole(size: int, work: float, **more: Any) -> Needs:
    """Of systems that see a frame as a whole and pad it themselves."""
    return Needs(
        multiple=1,
        min_size=1,
        overlap=16,
        bytes_per_pixel=size,
        gflops_per_megapixel=work,
        tiling="none",
        base_bytes=_BASE_BYTES,
        **more,
    )


def _measured(
    build: Callable[[Mapping[str, Any]], nn.Module],
    config: Mapping[str, Any],
    frames: int,
) -> tuple[int, float]:
    """Bytes per input pixel, and GFLOPs per million of them and frame, of a network
    with random weights."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from upframe.systems.live_memory import live_bytes

    with torch.random.fork_rng(devices=[]):
        network = build(config).eval()
        clip = torch.rand(1, frames, 3, _SIDE, _SIDE)
    work = FlopCounterMode(display=False)
    with work:
        live = live_bytes(lambda: network(clip))
    pixels = _SIDE**2
    flops = int(work.get_total_flops()) / frames / pixels
    return -(-live // pixels), round(flops / 1e3, 1)


def _has(*names: str) -> Callable[[Shapes], bool]:
    return lambda shapes: all(name in shapes for name in names)


_DECODER = "vae.decoder.conv_in.weight"

DIFFUSION = (
    Detector(
        system="ultravsr",
        title="UltraVSR",
        matches=_has("unet.conv_in.weight", _DECODER),
        deduce=None,
        hidden={},
        build=_build_ultravsr,
        needs=_ultravsr_needs,
        scale=4,
    ),
    Detector(
        system="oasis",
        title="OASIS",
        matches=_has("transformer.patch_embedding.weight", _DECODER),
        deduce=None,
        hidden={},
        build=_build_oasis,
        needs=_oasis_needs,
        scale=4,
    ),
    Detector(
        system="liftvsr",
        title="LiftVSR",
        matches=_has("transformer.condition.weight", _DECODER),
        deduce=None,
        hidden={},
        build=_build_liftvsr,
        needs=_liftvsr_needs,
        scale=4,
    ),
    Detector(
        system="patchscaler",
        title="PatchScaler",
        matches=_has("restoration.conv_in.weight", _DECODER),
        deduce=None,
        hidden={},
        build=_build_patchscaler,
        needs=_patchscaler_needs,
        scale=4,
    ),
)
"""The diffusion systems."""
