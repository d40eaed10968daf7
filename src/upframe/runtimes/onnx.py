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

from upframe.errors import RuntimeFailure, WeightsError
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.choice import Fallback
from upframe.runtimes.devices import cuda_index, physical_cores
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.onnx_spec import require_device
from upframe.runtimes.padding import crop, is_finite, no_memory, not_finite, pad
from upframe.runtimes.sessions import ImageSession
from upframe.runtimes.spec import DeviceUnavailableError
from upframe.weights.card import ModelCard


class OnnxRuntime(LoadedModel):
    """An image model in ONNX Runtime.

    Args:
        card: the card of the model.
        path: its ONNX file.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads; None for one per physical core.
        precision: of the file.
        fixed: whether a GPU that fails is an error; otherwise that frame and all that
            follow are computed on the CPU, which `fallbacks` reports.

    Raises:
        WeightsError: the file is missing, damaged, or of another contract.
        DeviceUnavailableError: the device does not exist, or not for this ONNX Runtime.
    """

    name = "onnx"

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        fixed: bool = True,
    ) -> None:
        gpu = cuda_index(device)
        super().__init__(card, "cpu" if gpu is None else f"cuda:{gpu}", precision)
        self._fixed = fixed or gpu is None
        self._path, self._threads = path, threads
        self._network = load_network(path, gpu, threads)
        _check_contract(self._network, path)

    def session(self) -> ImageSession:
        """Start a new run of frames; image models remember nothing."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame, number: int) -> FloatFrame:
        padded = pad(frame, self.card)
        try:
            try:
                output = self._forward(padded)
            except Exception as error:
                if self._fixed or is_out_of_memory(error):
                    raise
                self._to_cpu(error, number)
                output = self._forward(padded)
        except Exception as error:  # its errors share no base class
            raise failure(error, self.card, frame, self.device) from error
        result = crop(output, frame, self.card)
        if not is_finite(result):
            raise not_finite(self.card, self.name)
        return result

    def _forward(self, padded: FloatFrame) -> FloatFrame:
        """(h, w, 3) to (s*h, s*w, 3); raises whatever ONNX Runtime raises."""
        (output,) = self._network.run(["upscaled"], {"frames": padded[None]})
        result: FloatFrame = output[0]
        return result

    def _to_cpu(self, error: Exception, number: int) -> None:
        before, self.device, self._fixed = self.device, "cpu", True
        self._network = load_network(self._path, None, self._threads)
        why = f"{before} failed with {first_line(error)}"
        self.fallbacks.append(Fallback("device", before, "cpu", why, number))


def failure(
    error: Exception, card: ModelCard, frame: FloatFrame, device: str
) -> RuntimeFailure:
    """What to raise for an error of ONNX Runtime on a frame (h, w, 3)."""
    if is_out_of_memory(error):
        return no_memory(card, frame, device)
    return RuntimeFailure(
        f"{card.name} failed on {device}: {first_line(error)}",
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
        DeviceUnavailableError: there is no such GPU, or not for this ONNX Runtime.
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
        require_device(f"cuda:{gpu}")
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": str(gpu)}))
    try:
        # its own fallback prints to stdout and goes on; ours is reported
        network = onnxruntime.InferenceSession(
            str(path), options, providers, enable_fallback=0
        )
    except Exception as error:  # its errors share no base class
        if gpu is not None and "CUDA" in str(error):
            raise DeviceUnavailableError(
                f"The device cuda:{gpu} cannot be used: {first_line(error)}",
                "Check it with nvidia-smi, or use --device cpu.",
            ) from error
        raise WeightsError(
            f"{path} cannot be loaded: {first_line(error)}",
            "The file may be damaged; install or fetch it again.",
        ) from error
    if gpu is not None and network.get_providers()[0] != "CUDAExecutionProvider":
        # where CUDA's libraries are missing it only logs, and computes on the CPU
        raise DeviceUnavailableError(
            f"The device cuda:{gpu} cannot be used: ONNX Runtime finds no CUDA and "
            "cuDNN libraries that fit it.",
            "Install them with: pip install 'onnxruntime-gpu[cuda,cudnn]', "
            "or use --device cpu.",
        )
    return network


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


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of ONNX Runtime says that memory ran out."""
    text = str(error).lower()
    signs = ("failed to allocate", "out of memory", "bad allocation", "bad_alloc")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def first_line(error: Exception) -> str:
    """The first line of an error's message, for ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
