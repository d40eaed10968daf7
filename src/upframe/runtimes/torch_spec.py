"""PyTorch in the registry; the package itself is loaded when a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from upframe.runtimes.torch_diffusion import SESSIONS, DiffusionRuntime
from upframe.weights.card import ModelCard

_FORMATS = ("safetensors", "pth", "pt", "ckpt", "folder")
_FULL_SIZE = {"oasis": "bf16", "liftvsr": "bf16", "ultravsr": "fp16"}
"""What diffusion systems of full size run in on CUDA."""


def _file(files: Files) -> Path | None:
    return next((files[name] for name in _FORMATS if name in files), None)


def _runs(card: ModelCard, files: Files) -> bool:
    return card.system != "resampling" and _file(files) is not None


def _extra(card: ModelCard) -> str:
    return "diffusion" if card.system in SESSIONS else "torch"


def _found() -> tuple[str, ...]:
    # torch takes seconds to load; without a driver there is nothing for it to find
    if not has_gpu() or not SPEC.installed:
        return ("cpu",)
    import torch

    return ("cuda:0", "cpu") if torch.cuda.is_available() else ("cpu",)


def _precisions(card: ModelCard, files: Files, device: str) -> tuple[str, ...]:
    """Half precision on GPUs, for image models and diffusion systems of full size."""
    if device == "cpu":
        return ("fp32",)
    if "folder" in files:
        half = _FULL_SIZE.get(card.system)
        return ("fp32",) if half is None else (half, "fp32")
    if card.context or card.system in SESSIONS:
        return ("fp32",)
    return ("fp16", "fp32")


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

    from upframe.runtimes.torch import TorchRuntime
    from upframe.runtimes.torch_clips import TorchClipRuntime, TorchRecurrentRuntime
    from upframe.systems.mia_vsr.model import MIAVSR
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite
    from upframe.weights.loading import load

    path = _file(files)
    assert path is not None
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}
    network: Any = load(
        str(path),
        dtype=half.get(choice.precision) if path.is_dir() else torch.float32,
    )
    if card.system in SESSIONS:
        return DiffusionRuntime(
            card,
            network,
            device=choice.device,
            threads=options.threads,
            keep_ratio=options.keep_ratio,
            seed=options.seed or 0,
            precision=choice.precision,
        )
    if isinstance(network, MIAVSRLite):
        return TorchRecurrentRuntime(
            card,
            network,
            device=choice.device,
            threads=options.threads,
            keep_ratio=options.keep_ratio,
        )
    if isinstance(network, MIAVSR):
        return TorchClipRuntime(
            card,
            network,
            device=choice.device,
            threads=options.threads,
            keep_ratio=options.keep_ratio,
        )
    return TorchRuntime(
        card,
        network,
        device=choice.device,
        threads=options.threads,
        precision=choice.precision,
        fixed="precision" in choice.asked,
    )


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
