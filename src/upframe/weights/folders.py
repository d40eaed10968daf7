"""Systems of full size: folders of components, named as weight files are.

Which folder is of which system, and how it is read, is in the specs
(`upframe.systems.spec.FolderLayout`). What a run will need is found on the meta device,
before any weights are read. Importing this module needs the extra ``[torch]``; most
systems need ``[diffusion]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from upframe.errors import MissingExtraError, WeightsError
from upframe.systems.diffusion.components import file_sha256
from upframe.systems.registry import all_specs, detect_folder
from upframe.systems.spec import FolderLayout, SystemSpec
from upframe.weights.card import ModelCard

_WEIGHTS = (".safetensors", ".json", ".txt", ".pkl", ".pth", ".pt", ".ckpt")
"""Suffixes of the files that decide the result."""


def find_system(folder: Path) -> str | None:
    """The system whose components a folder holds, as cards name it; None for none."""
    known = detect_folder(folder)
    return known[0].name if known else None


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
    spec, layout = _require(folder)
    network: nn.Module = _with_extra(spec, lambda: layout.load(folder, dtype=dtype))
    return network.eval()


def describe_folder(folder: Path) -> ModelCard:
    """The card of a folder, from its configurations.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: a component is missing or invalid.
    """
    spec, layout = _require(folder)
    system = _with_extra(spec, lambda: layout.skeleton(folder))
    values = (*system.parameters(), *system.buffers())
    needs = layout.requirements(system)
    size = sum(x.numel() * x.element_size() for x in values)
    needs = replace(needs, base_bytes=needs.base_bytes + size)
    return ModelCard(
        name=folder.resolve().name,
        system=spec.name,
        scale=system.scale,
        summary=f"{spec.title} x{system.scale} from the folder {folder}",
        licence="unknown",
        parameters=sum(x.numel() for x in system.parameters()),
        **asdict(needs),
    )


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the names and contents of all files that decide the result."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _WEIGHTS:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _require(folder: Path) -> tuple[SystemSpec, FolderLayout]:
    known = detect_folder(folder)
    if known is None:
        markers = [spec.folder.marker for spec in all_specs() if spec.folder]
        raise WeightsError(
            f"{folder} holds no diffusion system.",
            f"There should be one of: {', '.join(markers)}.",
        )
    return known


def _with_extra(spec: SystemSpec, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ModuleNotFoundError as error:
        if error.name not in ("diffusers", "transformers", "peft"):
            raise
        raise MissingExtraError(spec.title, spec.extra) from error
