"""ONNX Runtime: how the core runs networks, without torch.

Image models have one input ``frames``, float32 (N, H, W, 3) in [0, 1], with H and W
multiples of ``card.multiple``, and one output ``upscaled``, float32 (N, s*H, s*W, 3),
clipped to [0, 1].

Session options, measured with ONNX Runtime 1.31 on two cores, eight 3x3 convolutions
of 32 channels on 180x144 and 640x360:

- no spinning: waiting threads that spin take time from decoding and encoding. Beside
  an x264 encoder the network is 12 % faster without (40 for 46 ms) and the encoder,
  too (75 for 70 frames/s); alone it loses nothing;
- memory arena on, memory pattern off: peak 164 MB, flat from the first frame, against
  234 MB with the pattern and 308 MB with the pattern alone, at the same speed.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from upframe.errors import RuntimeFailure, UsageError, WeightsError
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.devices import cuda_index, has_cuda, physical_cores
from upframe.runtimes.padding import crop, is_finite, no_memory, not_finite, pad
from upframe.runtimes.sessions import ImageSession
from upframe.weights.card import ModelCard


class OnnxRuntime:
    """An image model in ONNX Runtime.

    Args:
        card: the card of the model.
        path: its ONNX file.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads; None for one per physical core.

    Raises:
        WeightsError: the file is missing, damaged, or of another contract.
        UsageError: the device does not exist, or not for this ONNX Runtime.
    """

    name = "onnx"

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.card = card
        gpu = cuda_index(device)
        self.device = "cpu" if gpu is None else f"cuda:{gpu}"
        self._network = load_network(path, gpu, threads)
        _check_contract(self._network, path)

    def session(self) -> ImageSession:
        """Start on a new run of frames; for image models nothing is remembered."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame) -> FloatFrame:
        padded = pad(frame, self.card)
        try:
            (output,) = self._network.run(["upscaled"], {"frames": padded[None]})
        except Exception as error:  # its errors share no base class
            raise failure(error, self.card, frame, self.device) from error
        result = crop(output[0], frame, self.card)
        if not is_finite(result):
            raise not_finite(self.card, self.name)
        return result


def failure(
    error: Exception, card: ModelCard, frame: FloatFrame, device: str
) -> RuntimeFailure:
    """What to raise for an error of ONNX Runtime on a frame (h, w, 3)."""
    if _is_out_of_memory(error):
        return no_memory(card, frame, device)
    return RuntimeFailure(
        f"{card.name} failed on {device}: {_first_line(error)}",
        "Try --device cpu, or another model.",
    )


def load_network(
    path: Path, gpu: int | None, threads: int | None
) -> onnxruntime.InferenceSession:
    """A graph, ready to run.

    Args:
        path: the ONNX file.
        gpu: number of the GPU; None for the CPU.
        threads: CPU threads; None for one per physical core.

    Raises:
        WeightsError: the file is missing or damaged.
        UsageError: there is no such GPU, or not for this ONNX Runtime.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if gpu is not None:
        _require_cuda()
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": str(gpu)}))
    try:
        network = onnxruntime.InferenceSession(str(path), options, providers)
    except Exception as error:  # its errors share no base class
        if gpu is not None and "CUDA" in str(error):
            raise UsageError(
                f"The device cuda:{gpu} cannot be used: {_first_line(error)}",
                "Check it with nvidia-smi, or use --device cpu.",
            ) from error
        raise WeightsError(
            f"{path} cannot be loaded: {_first_line(error)}",
            "The file may be damaged; install or fetch it again.",
        ) from error
    if gpu is not None and network.get_providers()[0] != "CUDAExecutionProvider":
        # where CUDA's libraries are missing it only logs, and computes on the CPU
        raise UsageError(
            f"The device cuda:{gpu} cannot be used: ONNX Runtime finds no CUDA and "
            "cuDNN libraries that fit it.",
            "Install them with: pip install 'onnxruntime-gpu[cuda,cudnn]', "
            "or use --device cpu.",
        )
    return network


def _require_cuda() -> None:
    if not has_cuda():
        raise UsageError(
            "The installed ONNX Runtime has no CUDA.",
            "Replace it: pip uninstall onnxruntime, then "
            "pip install 'onnxruntime-gpu[cuda,cudnn]'; or use --device cpu.",
        )


def _check_contract(network: onnxruntime.InferenceSession, path: Path) -> None:
    inputs = [(value.name, value.type) for value in network.get_inputs()]
    outputs = [(value.name, value.type) for value in network.get_outputs()]
    wanted = "tensor(float)"
    if inputs != [("frames", wanted)] or ("upscaled", wanted) not in outputs:
        raise WeightsError(
            f"{path} maps {inputs} to {outputs}.",
            "A model must map float 'frames' (N, H, W, 3) to float 'upscaled'; "
            "make it with: upframe export.",
        )


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    signs = ("failed to allocate", "out of memory", "bad allocation", "bad_alloc")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
