"""How much memory UltraVSR will take, before it takes it.

Each network is run once on a chunk of tensors without values (torch's meta device)
while the bytes that would be alive at once are counted. To the largest of these peaks
comes what the streams hold between chunks, which follows from the sizes at each
temporal module. What this cannot see is what kernels take for themselves while they
run, and the allocator's rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from upframe.errors import RuntimeFailure
from upframe.nn.images import colour_fixes
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.ultravsr.backbones import decoder_stages, unet_stages
from upframe.systems.ultravsr.model import UltraVSR
from upframe.systems.ultravsr.rts import RecurrentTemporalShift
from upframe.systems.ultravsr.stages import Carried, Segment, Stages
from upframe.systems.ultravsr.stream import Options, Session, plan_grid

_GIB = 2**30


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the device."""

    unet: int
    """The UNet's weights, temporal modules and LoRA included."""
    vae: int
    estimator: int
    working: int
    """Most that is alive at once besides weights, once the streams are full."""
    offload: bool
    """Whether only one of the networks is on the device at a time."""

    @property
    def weights(self) -> int:
        """Weights on the device at the same time."""
        networks = max(self.unet, self.vae) if self.offload else self.unet + self.vae
        return networks + self.estimator

    @property
    def total(self) -> int:
        """Weights and work."""
        return self.weights + self.working

    def __str__(self) -> str:
        """One line for a person."""
        parts = (
            f"UNet {_gib(self.unet)}, autoencoder {_gib(self.vae)}, "
            f"estimator {_gib(self.estimator)}, work {_gib(self.working)}"
        )
        if self.offload:
            parts += "; one network at a time"
        return f"memory: {_gib(self.total)} on the device ({parts})"

    def require(self, available: int) -> None:
        """Refuse what will not fit.

        Args:
            available: free bytes on the device.

        Raises:
            RuntimeFailure: the plan needs more.
        """
        if self.total > available:
            raise RuntimeFailure(
                f"This needs about {_gib(self.total)} of memory on the device, and "
                f"{_gib(available)} are free.",
                "Use smaller tiles or chunks, half precision, or offloading.",
            )


def plan_memory(
    model: UltraVSR, size: tuple[int, int], options: Options | None = None
) -> MemoryPlan:
    """Plan the memory of a video.

    Args:
        model: the networks, of the type they will run in; may be on the meta device.
        size: (height, width) of the input in pixels.
        options: how it will be run.

    Returns:
        The plan, for videos of any length that fill the streams.
    """
    options = options or Options()
    shape = _on_meta(model)
    big = (size[0] * model.scale, size[1] * model.scale)
    grid = plan_grid(model, options, big)
    rows, columns = grid.tile_height, grid.tile_width
    chunk, meta = options.chunk, torch.device("meta")
    latent = torch.zeros(
        chunk, model.unet.config.in_channels, rows, columns, device=meta
    )
    image = torch.zeros(chunk, 3, *big, device=meta)
    crop = image[..., : rows * model.factor, : columns * model.factor]
    unet = unet_stages(shape.unet, torch.zeros(1, dtype=torch.int64, device=meta))
    decoder = decoder_stages(shape.vae)
    half = latent.to(shape.dtype)
    with torch.no_grad(), _ShapesOnly():
        passes = [
            _Pass(unet, half, shape.carried(chunk)),
            _Pass(decoder, half, ()),
        ]
        peaks = [one.peak for one in passes]
        peaks.append(live_bytes(lambda: shape.moments(crop)))
        fix = colour_fixes[options.colours or model.colours]
        peaks.append(live_bytes(lambda: fix(image + 0.5, image + 0.5)))
    held = sum(one.held for one in passes) * len(grid)
    # latents inside the UNet; frames inside either network; the newest of both
    held += (unet.delay + chunk) * latent[0].nbytes * len(grid)
    held += (unet.delay + decoder.delay + chunk) * 3 * size[0] * size[1] * 4
    return MemoryPlan(
        unet=_bytes(model.unet),
        vae=_bytes(model.vae),
        estimator=_bytes(model.estimator),
        working=held + max(peaks),
        offload=options.offload,
    )


class _Pass:
    """One run of a network's stages on a chunk, on the meta device."""

    def __init__(self, stages: Stages, x: Tensor, carried: Carried) -> None:
        self.held = 0
        """Bytes that a stream of these stages keeps between chunks."""
        self._widest = 0
        first = tuple(
            self._recorded(segment, shift)
            for segment, shift in zip(stages.segments[:-1], stages.shifts, strict=True)
        )
        recorded = Stages((*first, stages.segments[-1]), stages.shifts)
        self.peak = live_bytes(lambda: recorded(x, len(x), carried))
        if len(x) > 1:
            # of a chunk, carried frames are copied to wait, and joined when they go on
            self.peak += 2 * len(x) * self._widest

    def _recorded(self, segment: Segment, shift: RecurrentTemporalShift) -> Segment:
        def run(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
            x, carried = segment(x, carried)
            waiting = sum(part[0].nbytes for part in carried)
            channels = 2 * shift.RTSConv.conv1.out_channels // 3
            channels += shift.RTSAtten.qkv_dwconv.out_channels
            features = channels * x[0, 0].nbytes
            self.held += shift.reach * (waiting + x[0].nbytes + features)
            self._widest = max(self._widest, waiting)
            return x, carried

        return run


def planned_session(
    model: UltraVSR,
    size: tuple[int, int],
    options: Options | None,
    announce: Callable[[str], None],
    available: int | None = None,
    device: torch.device | str | None = None,
) -> Session:
    """Plan, report the plan, and begin only if it fits.

    Args:
        model: the networks, in eval mode.
        size: (height, width) of the input in pixels.
        options: how to run them.
        announce: given the plan as a line of text, before anything runs.
        available: free bytes on the device; None where a GPU can be asked, or where it
            is not known: then nothing is refused.
        device: where networks run; None for where they are.

    Raises:
        RuntimeFailure: it does not fit.
    """
    plan = plan_memory(model, size, options)
    announce(str(plan))
    place = torch.device(device or model.alphas_cumprod.device)
    if available is None and place.type == "cuda":
        free, _ = torch.cuda.mem_get_info(place)
        # weights that are there already are not needed again
        available = free + _bytes(model, place)
    if available is not None:
        plan.require(available)
    return Session(model, options, device)


def _gib(size: int) -> str:
    return f"{size / _GIB:.2f} GiB"


def _bytes(network: Any, device: torch.device | None = None) -> int:
    if not isinstance(network, nn.Module):
        return 0
    tensors = (*network.parameters(), *network.buffers())
    return sum(t.nbytes for t in tensors if device is None or t.device == device)


def _on_meta(model: UltraVSR) -> UltraVSR:
    """The same networks without values; the model itself is not copied."""
    estimator = model.estimator
    model.estimator = None
    try:
        tensors = (*model.parameters(), *model.buffers())
        memo: dict[int, Any] = {
            id(t): nn.Parameter(t.to("meta"), requires_grad=False)
            if isinstance(t, nn.Parameter)
            else t.to("meta")
            for t in tensors
        }
        return copy.deepcopy(model, memo)
    finally:
        model.estimator = estimator


class _ShapesOnly(TorchFunctionMode):
    """Attention that makes no map of all pairs, as fused kernels do not."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False))
            given |= kwargs or {}
            query, value = given["query"], given["value"]
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        return func(*args, **(kwargs or {}))
