"""Diffusion systems of full size: folders of components, named as weight files are.

================== ============================================================
in the folder      what it is
================== ============================================================
``oasis.json``     what ``OASIS.save_pretrained`` wrote
``liftvsr.json``   what ``LiftVSR.save_pretrained`` wrote
``unet/``, ...     Stable Diffusion in diffusers' layout, and beside it one file
                   (``.pkl``, ``.pth``, ``.ckpt``) that makes it an UltraVSR:
                   the authors', or one of `upframe.systems.ultravsr.adapters`
================== ============================================================

What a run will need is found on the meta device, before any weights are read. An
UltraVSR of full size asks CLIP-IQA how clean its frames are, as its authors do.
Importing this module needs the extra ``[torch]``, the rest of it ``[diffusion]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from upframe.errors import MissingExtraError, WeightsError
from upframe.systems.diffusion.components import file_sha256
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.weights.card import ModelCard
from upframe.weights.detector import Needs
from upframe.weights.diffusion import BASE_BYTES, ultravsr_needs, whole_needs

_SIDE = 32
"""Pixels of the clip on which needs are found."""
_CHECKPOINTS = (".pkl", ".pth", ".pt", ".ckpt")
_WEIGHTS = (".safetensors", ".json", ".txt", *_CHECKPOINTS)
"""Suffixes of what decides the result."""


@dataclass(frozen=True)
class _System:
    """One kind of folder."""

    name: str
    """As on cards."""
    title: str
    mark: str
    """File or folder that it is known by."""
    load: Callable[[Path, torch.dtype], nn.Module]
    skeleton: Callable[[Path], Any]
    """On the meta device."""
    needs: Callable[[Any], Needs]


def find_system(folder: Path) -> str | None:
    """The system whose components a folder holds, as cards name it; None for none."""
    known = _known(folder)
    return known.name if known else None


def load_folder(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The system of a folder, on the CPU, in eval mode.

    Args:
        folder: one for which `find_system` knows a system.
        dtype: of the networks; bfloat16 for OASIS and LiftVSR, float16 for UltraVSR
            are meant for GPUs.

    Raises:
        MissingExtraError: diffusers is not installed.
        UpframeError: CLIP-IQA is needed and not installed.
        WeightsError: a component is missing, damaged, or does not fit.
    """
    system = _require(folder)
    made: nn.Module = _with_diffusers(system, lambda: system.load(folder, dtype))
    return made.eval()


def describe_folder(folder: Path) -> ModelCard:
    """The card of a folder, as far as its configurations tell.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: a component is missing, or makes no sense.
    """
    system = _require(folder)
    made = _with_diffusers(system, lambda: system.skeleton(folder))
    values = (*made.parameters(), *made.buffers())
    needs = asdict(system.needs(made))
    needs["base_bytes"] = BASE_BYTES + sum(x.numel() * x.element_size() for x in values)
    return ModelCard(
        name=folder.resolve().name,
        system=system.name,
        scale=made.scale,
        summary=f"{system.title} x{made.scale} from the folder {folder}",
        licence="unknown",
        parameters=sum(x.numel() for x in made.parameters()),
        **needs,
    )


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the names and contents of all files that decide the result."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _WEIGHTS:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _known(folder: Path) -> _System | None:
    return next((s for s in _SYSTEMS if (folder / s.mark).exists()), None)


def _require(folder: Path) -> _System:
    system = _known(folder)
    if system is None:
        raise WeightsError(
            f"{folder} holds no diffusion system.",
            f"There should be one of: {', '.join(s.mark for s in _SYSTEMS)}.",
        )
    return system


def _with_diffusers(system: _System, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ModuleNotFoundError as error:
        if error.name not in ("diffusers", "transformers", "peft"):
            raise
        raise MissingExtraError(system.title, "diffusion") from error


def _load_oasis(folder: Path, dtype: torch.dtype) -> nn.Module:
    from upframe.systems.oasis.model import OASIS

    return OASIS.from_pretrained(folder, dtype=dtype)


def _oasis_skeleton(folder: Path) -> nn.Module:
    from upframe.systems.oasis.model import OASIS

    return OASIS.on_meta(folder)


def _oasis_needs(system: Any) -> Needs:
    from upframe.systems.oasis.memory import plan_memory
    from upframe.systems.oasis.model import Chunking

    cut, temporal = Chunking(), system.decoder.temporal
    context = (cut.context + cut.blend) * temporal
    return whole_needs(
        _per_pixel(plan_memory(system, _SIDE, _SIDE, chunking=cut).working),
        _work(system, 1 + temporal * (cut.length - 1)),
        context=context,
        lookahead=context,
        segment=temporal,
        seeded=True,
    )


def _load_liftvsr(folder: Path, dtype: torch.dtype) -> nn.Module:
    from upframe.systems.liftvsr.model import LiftVSR

    return LiftVSR.from_pretrained(folder, dtype=dtype)


def _liftvsr_skeleton(folder: Path) -> nn.Module:
    from upframe.systems.liftvsr.model import LiftVSR

    return LiftVSR.on_meta(folder)


def _liftvsr_needs(system: Any) -> Needs:
    segment = system.config.segment
    clip = torch.empty(1, segment, 3, _SIDE, _SIDE, device="meta")
    live = live_bytes(lambda: system(clip), unfolding=True)
    work = _work(system, segment)
    return whole_needs(_per_pixel(live), work, segment=segment, seeded=True)


def _load_ultravsr(folder: Path, dtype: torch.dtype) -> nn.Module:
    from upframe.systems.ultravsr.degradation_estimator import ClipIQA
    from upframe.weights.ultravsr import from_pretrained

    checkpoint = _ultravsr_checkpoint(folder)
    estimator = ClipIQA()  # says what is missing before gigabytes are read
    return from_pretrained(folder, checkpoint, dtype=dtype, estimator=estimator)


def _ultravsr_skeleton(folder: Path) -> nn.Module:
    from upframe.weights.ultravsr import skeleton

    _ultravsr_checkpoint(folder)
    return skeleton(folder)


def _ultravsr_checkpoint(folder: Path) -> Path:
    found = [p for p in sorted(folder.iterdir()) if p.suffix in _CHECKPOINTS]
    if len(found) == 1:
        return found[0]
    what = ", ".join(p.name for p in found) or "none"
    raise WeightsError(
        f"{folder} holds a diffusion model, which becomes an UltraVSR by the "
        f"checkpoint beside its components; there should be one, and there is: {what}.",
        f"Put UltraVSR's checkpoint ({', '.join(_CHECKPOINTS)}) there, or load other "
        "systems in Python: OASIS.from_wan, LiftVSR.from_pixart.",
    )


def _ultravsr_needs(system: Any) -> Needs:
    from upframe.systems.ultravsr.memory import plan_memory

    memory = plan_memory(system, (_SIDE, _SIDE)).working
    factor = torch.zeros(1, device="meta")
    return ultravsr_needs(system, _per_pixel(memory), _work(system, 1, factor))


def _per_pixel(size: int) -> int:
    return -(-size // _SIDE**2)


def _work(system: Any, frames: int, *more: Any) -> float:
    """GFLOPs per million input pixels and frame; attention of larger frames takes
    more."""
    clip = torch.empty(1, frames, 3, _SIDE, _SIDE, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        system(clip, *more)
    return round(int(counter.get_total_flops()) / frames / _SIDE**2 / 1e3, 1)


_SYSTEMS = (
    _System("oasis", "OASIS", "oasis.json", _load_oasis, _oasis_skeleton, _oasis_needs),
    _System(
        "liftvsr",
        "LiftVSR",
        "liftvsr.json",
        _load_liftvsr,
        _liftvsr_skeleton,
        _liftvsr_needs,
    ),
    _System(
        "ultravsr",
        "UltraVSR",
        "unet",
        _load_ultravsr,
        _ultravsr_skeleton,
        _ultravsr_needs,
    ),
)
