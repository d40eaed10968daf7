"""ONNX Runtime in the registry; the package itself is loaded when a model is opened."""

from __future__ import annotations

from upframe.errors import WeightsError
from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Choice
from upframe.runtimes.devices import cuda_index, has_cuda, has_nvidia_gpu
from upframe.runtimes.spec import (
    DeviceUnavailableError,
    Files,
    RunOptions,
    RuntimeSpec,
    core,
)
from upframe.weights.card import ModelCard


def _runs(card: ModelCard, files: Files) -> bool:
    return card.system != "resampling" and "onnx" in files


def _found() -> tuple[str, ...]:
    return ("cuda:0", "cpu") if has_nvidia_gpu() and has_cuda() else ("cpu",)


def require_device(device: str) -> None:
    """Check a device that was named.

    Raises:
        DeviceUnavailableError: the installed ONNX Runtime cannot use it.
    """
    if cuda_index(device) is not None and not has_cuda():
        raise DeviceUnavailableError(
            "The installed ONNX Runtime has no CUDA.",
            "Replace it: pip uninstall onnxruntime, then "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'; or use --device cpu.",
        )


def _precisions(card: ModelCard, files: Files, device: str) -> tuple[str, ...]:
    """int8 graphs, which lose less than 0.05 dB, are faster than fp32 on CPUs alone."""
    del card
    if device == "cpu" and "onnx-int8" in files:
        return ("int8", "fp32")
    return ("fp32",)


def _open(
    card: ModelCard, files: Files, choice: Choice, options: RunOptions
) -> Runtime:
    from upframe.runtimes.onnx import OnnxRuntime
    from upframe.runtimes.onnx_recurrent import OnnxRecurrentRuntime

    require_device(choice.device)
    kind = "onnx-int8" if choice.precision == "int8" else "onnx"
    if kind not in files:
        raise WeightsError(
            f"{card.name} has no graph in {choice.precision}.",
            "Use --precision auto, or export the model again.",
        )
    if f"{kind}-masked" not in files:
        return OnnxRuntime(
            card,
            files[kind],
            device=choice.device,
            threads=options.threads,
            precision=choice.precision,
            fixed="device" in choice.asked,
        )
    return OnnxRecurrentRuntime(
        card,
        files[kind],
        files[f"{kind}-masked"],
        device=choice.device,
        threads=options.threads,
        keep_ratio=options.keep_ratio,
        precision=choice.precision,
    )


SPEC = RuntimeSpec(
    name="onnx",
    title="ONNX Runtime",
    package="onnxruntime",
    extra=core,
    named=True,
    runs=_runs,
    found=_found,
    require=require_device,
    precisions=_precisions,
    open=_open,
)
