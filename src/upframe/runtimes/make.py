"""Which runtime carries out a model, and where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.runtimes.base import Runtime
from upframe.runtimes.devices import cuda_index, has_cuda, has_nvidia_gpu
from upframe.weights.card import ModelCard

RUNTIMES = ("auto", "onnx", "torch")
"""Names that ``open_runtime`` takes."""
_TORCH_FORMATS = ("safetensors", "pth", "pt")


def open_runtime(
    card: ModelCard,
    paths: Mapping[str, Path],
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Runtime:
    """Load a model where it runs best.

    Resampling cards need no runtime and are computed directly, on the CPU. For others
    ``auto`` means ONNX Runtime where there is an ONNX file, except where a GPU is
    wanted that only torch can use.

    Args:
        card: the card of the model.
        paths: its weight files by format: ``onnx``, ``safetensors``, ``pth``,
            ``pt``.
        runtime: ``auto``, ``onnx`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<i>``; ``auto`` takes CUDA where
            the runtime offers it.
        threads: CPU threads; None for one per physical core.

    Raises:
        UsageError: a name that does not exist, or a device that is not there.
        WeightsError: no file for the runtime, or a damaged one.
        MissingExtraError: torch is needed and not installed.
    """
    if runtime not in RUNTIMES:
        raise UsageError(
            f"There is no runtime '{runtime}' in this version.",
            f"Use one of: {', '.join(RUNTIMES)}.",
        )
    if device != "auto":
        cuda_index(device)
    if card.system == "resampling":
        from upframe.runtimes.resampling import ResamplingRuntime

        return ResamplingRuntime(card)
    if runtime == "auto":
        runtime = _choose(paths, device)
    if runtime == "onnx":
        return _open_onnx(card, paths, device, threads)
    return _open_torch(card, paths, device, threads)


def _choose(paths: Mapping[str, Path], device: str) -> str:
    torch_ready = _torch_file(paths) is not None and find_spec("torch") is not None
    if "onnx" not in paths:
        return "torch"
    wants_cuda = device.startswith("cuda") or (device == "auto" and has_nvidia_gpu())
    if wants_cuda and not has_cuda() and torch_ready:
        return "torch"
    return "onnx"


def _open_onnx(
    card: ModelCard, paths: Mapping[str, Path], device: str, threads: int | None
) -> Runtime:
    from upframe.runtimes.onnx import OnnxRuntime

    if "onnx" not in paths:
        raise _no_file(card, paths, "onnx")
    if device == "auto":
        if has_cuda() and has_nvidia_gpu():
            # where CUDA's libraries are missing, auto means the CPU
            with suppress(UsageError):
                return OnnxRuntime(card, paths["onnx"], device="cuda", threads=threads)
        device = "cpu"
    return OnnxRuntime(card, paths["onnx"], device=device, threads=threads)


def _open_torch(
    card: ModelCard, paths: Mapping[str, Path], device: str, threads: int | None
) -> Runtime:
    path = _torch_file(paths)
    if path is None:
        raise _no_file(card, paths, "torch")
    if find_spec("torch") is None:
        raise MissingExtraError("The torch runtime", "torch")
    import torch

    from upframe.runtimes.torch import TorchRuntime
    from upframe.weights.loading import load

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchRuntime(card, load(str(path)), device=device, threads=threads)


def _torch_file(paths: Mapping[str, Path]) -> Path | None:
    return next((paths[name] for name in _TORCH_FORMATS if name in paths), None)


def _no_file(card: ModelCard, paths: Mapping[str, Path], runtime: str) -> WeightsError:
    formats = ", ".join(sorted(paths)) or "none"
    return WeightsError(
        f"{card.name} has no file for the runtime {runtime}; it has: {formats}.",
        "Use --runtime auto, or export the model first.",
    )
