"""PyTorch in the registry; the package itself is loaded when a model is opened."""

from __future__ import annotations

from pathlib import Path

from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Choice
from upframe.runtimes.devices import has_gpu
from upframe.runtimes.spec import (
    DeviceUnavailableError,
    Files,
    RunOptions,
    RuntimeSpec,
)
from upframe.runtimes.torch import require_device
from upframe.systems.registry import find_spec
from upframe.weights.card import ModelCard

_FORMATS = ("safetensors", "pth", "pt", "ckpt", "folder")


def _file(files: Files) -> Path | None:
    return next((files[name] for name in _FORMATS if name in files), None)


def _runs(card: ModelCard, files: Files) -> bool:
    return card.system != "resampling" and _file(files) is not None


def _extra(card: ModelCard) -> str:
    return find_spec(card.system).extra


def _found() -> tuple[str, ...]:
    # torch takes seconds to load; without a driver there is nothing for it to find
    if not has_gpu() or not SPEC.installed:
        return ("cpu",)
    import torch

    return ("cuda:0", "cpu") if torch.cuda.is_available() else ("cpu",)


def _precisions(card: ModelCard, files: Files, device: str) -> tuple[str, ...]:
    """On GPUs first what suits the system."""
    if device == "cpu":
        return ("fp32",)
    system = find_spec(card.system)
    best = system.cuda_precision
    if "folder" in files and system.folder is not None:
        best = system.folder.cuda_precision
    return ("fp32",) if best == "fp32" else (best, "fp32")


def _open(
    card: ModelCard, files: Files, choice: Choice, options: RunOptions
) -> Runtime:
    require_device(choice.device)
    try:
        return _load(card, files, choice, options)
    except RuntimeError as error:
        if choice.device == "cpu":
            raise
        # a driver that is too old, memory that others hold, ...
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceUnavailableError(
            f"{card.name} cannot be put on {choice.device}: {first}",
            "Use --device cpu, or another GPU.",
        ) from error


def _load(
    card: ModelCard, files: Files, choice: Choice, options: RunOptions
) -> Runtime:
    import torch

    from upframe.weights.loading import load

    path = _file(files)
    assert path is not None
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}
    # folders hold whole systems, which are too large to be converted afterwards
    dtype = half.get(choice.precision) if path.is_dir() else torch.float32
    network = load(str(path), dtype=dtype)
    runtime: Runtime = find_spec(card.system).runtime(card, network, choice, options)
    return runtime


SPEC = RuntimeSpec(
    name="torch",
    title="PyTorch",
    package="torch",
    extra=_extra,
    named=True,
    runs=_runs,
    found=_found,
    require=require_device,
    precisions=_precisions,
    open=_open,
)
