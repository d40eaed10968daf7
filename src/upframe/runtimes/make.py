"""Which runtime carries out a model, and where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.runtimes.base import Runtime
from upframe.runtimes.devices import cuda_index, has_cuda, has_nvidia_gpu
from upframe.runtimes.torch_diffusion import SESSIONS, DiffusionRuntime
from upframe.weights.card import ModelCard

RUNTIMES = ("auto", "onnx", "torch")
"""Names that ``open_runtime`` takes."""
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
"""Precisions that ``open_runtime`` takes."""
_TORCH_FORMATS = ("safetensors", "pth", "pt", "ckpt", "folder")
_FULL_SIZE = {"oasis": "bf16", "liftvsr": "bf16", "ultravsr": "fp16"}
"""What diffusion systems of full size run in on CUDA."""


def open_runtime(
    card: ModelCard,
    paths: Mapping[str, Path],
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    keep_ratio: float | None = None,
    seed: int | None = None,
    precision: str = "auto",
) -> Runtime:
    """Load a model where it runs best.

    Resampling cards need no runtime and are computed directly, on the CPU. For others
    ``auto`` means ONNX Runtime where there is an ONNX file, except where a GPU is
    wanted that only torch can use.

    Args:
        card: the card of the model.
        paths: its weight files by format: ``onnx`` (and ``onnx-masked``, the second
            graph of networks of clips; ``onnx-int8`` and ``onnx-int8-masked``, both in
            int8), ``safetensors``, ``pth``, ``pt``, ``ckpt``, or ``folder``, that of a
            diffusion system of full size.
        runtime: ``auto``, ``onnx`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<i>``; ``auto`` takes CUDA where
            the runtime offers it.
        threads: CPU threads; None for one per physical core.
        keep_ratio: how much of a frame masked models compute at most, 0 to 1; None
            what they were taught.
        seed: of the noise of models that draw some, 0 to 2**64 - 1; None for 0.
        precision: see :func:`choose_precision`.

    Raises:
        UsageError: a name that does not exist, a device that is not there, or a keep
            ratio, seed or precision that makes no sense or that the model cannot take.
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
    check_keep_ratio(card, keep_ratio)
    check_seed(card, seed)
    precision = choose_precision(
        card, paths, runtime=runtime, device=device, precision=precision
    )
    if card.system == "resampling":
        from upframe.runtimes.resampling import ResamplingRuntime

        return ResamplingRuntime(card)
    if runtime == "auto":
        runtime = _choose(paths, device)
    if runtime == "onnx":
        kind = "onnx-int8" if precision == "int8" else "onnx"
        return _open_onnx(card, paths, kind, device, threads, keep_ratio)
    return _open_torch(card, paths, device, threads, keep_ratio, seed, precision)


def choose_precision(
    card: ModelCard,
    paths: Mapping[str, Path],
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> str:
    """The precision that a model runs in.

    ``auto`` means ``int8`` on the CPU in ONNX Runtime for models that have such graphs,
    which lose less than 0.05 dB; on CUDA ``fp16`` for image models in torch, and what
    suits the system, ``bf16`` or ``fp16``, for diffusion systems of full size; else
    ``fp32``.

    Args:
        card: the card of the model.
        paths: as for :func:`open_runtime`.
        runtime: likewise.
        device: likewise.
        precision: one of `PRECISIONS`.

    Raises:
        UsageError: there is no such precision, or not for this model, runtime and
            device.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision '{precision}'.", f"Use {', '.join(PRECISIONS)}."
        )
    if card.system == "resampling":
        best = "fp32"
    elif (_choose(paths, device) if runtime == "auto" else runtime) == "onnx":
        on_cpu = device == "cpu" or (device == "auto" and not _has_gpu())
        best = "int8" if on_cpu and "onnx-int8" in paths else "fp32"
    else:
        best = _on_cuda(card, paths) if _takes_cuda(device) else "fp32"
    if precision in ("auto", "fp32", best):
        return best if precision == "auto" else precision
    if precision in ("fp16", "bf16"):
        why = "half precision is for torch on CUDA"
        why += ", for image models and, as suits them, full-size diffusion systems."
    elif "onnx-int8" in paths:
        why = "int8 is for ONNX Runtime on the CPU."
    else:
        why = "it has no graphs in int8."
    raise UsageError(
        f"{card.name} cannot run in {precision} here: {why}",
        "Leave --precision out to take what suits the model and the device.",
    )


def check_keep_ratio(card: ModelCard, keep_ratio: float | None) -> None:
    """Refuse a keep ratio that makes no sense or that a model cannot take.

    Raises:
        UsageError: it does so.
    """
    if keep_ratio is None:
        return
    if not 0 <= keep_ratio <= 1:
        raise UsageError(
            f"A keep ratio of {keep_ratio:g} makes no sense.",
            "It is a share: 0 copies all it may, 1 computes everything.",
        )
    if not card.masked:
        raise UsageError(
            f"{card.name} computes every frame as a whole and takes no keep ratio.",
            "Leave --keep-ratio out, or use a model with masks, such as MIA-VSR.",
        )


def check_seed(card: ModelCard, seed: int | None) -> None:
    """Refuse a seed that makes no sense or that a model has no use for.

    Raises:
        UsageError: it does so.
    """
    if seed is None:
        return
    if not 0 <= seed < 2**64:
        raise UsageError(f"A seed of {seed} cannot be.", "Give 0 to 2**64 - 1.")
    if not card.seeded:
        raise UsageError(
            f"{card.name} draws no noise and takes no seed.",
            "Leave --seed out, or use a diffusion model, such as UltraVSR.",
        )


def _choose(paths: Mapping[str, Path], device: str) -> str:
    torch_ready = _torch_file(paths) is not None and find_spec("torch") is not None
    if "onnx" not in paths:
        return "torch"
    wants_cuda = device.startswith("cuda") or (device == "auto" and has_nvidia_gpu())
    if wants_cuda and not has_cuda() and torch_ready:
        return "torch"
    return "onnx"


def _has_gpu() -> bool:
    """Whether ONNX Runtime takes a GPU by itself."""
    return has_cuda() and has_nvidia_gpu()


def _on_cuda(card: ModelCard, paths: Mapping[str, Path]) -> str:
    """What torch computes a model in on CUDA unless told otherwise."""
    if "folder" in paths:
        return _FULL_SIZE[card.system]
    return "fp32" if card.context or card.system in SESSIONS else "fp16"


def _takes_cuda(device: str) -> bool:
    """Whether torch takes CUDA."""
    if device == "cpu":
        return False
    if device != "auto":
        return True
    if not has_nvidia_gpu() or find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _open_onnx(
    card: ModelCard,
    paths: Mapping[str, Path],
    kind: str,
    device: str,
    threads: int | None,
    keep_ratio: float | None,
) -> Runtime:
    from upframe.runtimes.onnx import OnnxRuntime
    from upframe.runtimes.onnx_recurrent import OnnxRecurrentRuntime

    if kind not in paths:
        raise _no_file(card, paths, "onnx")

    def opened(where: str) -> Runtime:
        if f"{kind}-masked" not in paths:
            return OnnxRuntime(card, paths[kind], device=where, threads=threads)
        return OnnxRecurrentRuntime(
            card,
            paths[kind],
            paths[f"{kind}-masked"],
            device=where,
            threads=threads,
            keep_ratio=keep_ratio,
        )

    if device == "auto":
        if _has_gpu():
            # where CUDA's libraries are missing, auto means the CPU
            with suppress(UsageError):
                return opened("cuda")
        device = "cpu"
    return opened(device)


def _open_torch(
    card: ModelCard,
    paths: Mapping[str, Path],
    device: str,
    threads: int | None,
    keep_ratio: float | None,
    seed: int | None,
    precision: str,
) -> Runtime:
    path = _torch_file(paths)
    if path is None:
        raise _no_file(card, paths, "torch")
    if find_spec("torch") is None:
        if card.system in SESSIONS:
            raise MissingExtraError(card.name, "diffusion")
        raise MissingExtraError("The torch runtime", "torch")
    import torch

    from upframe.runtimes.torch import TorchRuntime
    from upframe.runtimes.torch_clips import TorchClipRuntime, TorchRecurrentRuntime
    from upframe.systems.mia_vsr.model import MIAVSR
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite
    from upframe.weights.loading import load

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}
    network = load(
        str(path), dtype=half.get(precision) if path.is_dir() else torch.float32
    )
    if card.system in SESSIONS:
        return DiffusionRuntime(
            card,
            network,
            device=device,
            threads=threads,
            keep_ratio=keep_ratio,
            seed=seed or 0,
        )
    if isinstance(network, MIAVSRLite):
        return TorchRecurrentRuntime(
            card, network, device=device, threads=threads, keep_ratio=keep_ratio
        )
    if isinstance(network, MIAVSR):
        return TorchClipRuntime(
            card, network, device=device, threads=threads, keep_ratio=keep_ratio
        )
    dtype = torch.float32 if precision == "fp32" else None
    return TorchRuntime(card, network, device=device, threads=threads, dtype=dtype)


def _torch_file(paths: Mapping[str, Path]) -> Path | None:
    return next((paths[name] for name in _TORCH_FORMATS if name in paths), None)


def _no_file(card: ModelCard, paths: Mapping[str, Path], runtime: str) -> WeightsError:
    formats = ", ".join(sorted(paths)) or "none"
    return WeightsError(
        f"{card.name} has no file for the runtime {runtime}; it has: {formats}.",
        "Use --runtime auto, or export the model first.",
    )
