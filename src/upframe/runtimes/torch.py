"""PyTorch as a runtime: any image model as a module, on the CPU or a GPU.

Needs the extra ``[torch]``; this module itself imports without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import numpy as np

from upframe.errors import MissingExtraError, RuntimeFailure
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.choice import Choice, Fallback
from upframe.runtimes.devices import cuda_index, physical_cores
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import crop, is_finite, no_memory, not_finite, pad
from upframe.runtimes.sessions import ImageSession
from upframe.runtimes.spec import DeviceUnavailableError, RunOptions
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    import torch


class TorchRuntime(LoadedModel):
    """An image model as a torch module.

    Args:
        card: the card of the model.
        module: maps (B, 3, h, w) to (B, 3, s*h, s*w), RGB in [0, 1]; moved to the
            device, its memory format and precision are changed in place.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        precision: ``fp32``, ``fp16`` or ``bf16``; on the CPU with channels last.
        threads: CPU threads, for all of torch; None for one per physical core.
        fixed: whether NaN or infinity in half precision is an error; otherwise that
            frame and all that follow are computed in fp32, which `fallbacks` reports.

    Raises:
        MissingExtraError: torch is not installed.
        DeviceUnavailableError: the device does not exist.
    """

    name = "torch"

    def __init__(
        self,
        card: ModelCard,
        module: torch.nn.Module,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
        fixed: bool = True,
    ) -> None:
        super().__init__(card, configure_device(device, threads), precision)
        self._fixed = fixed or precision == "fp32"
        self._module = module.to(self.device).eval()
        self._set_precision(precision)

    @classmethod
    def open(
        cls,
        card: ModelCard,
        network: torch.nn.Module,
        choice: Choice,
        options: RunOptions,
    ) -> Self:
        """See ``SystemSpec.runtime``."""
        return cls(
            card,
            network,
            device=choice.device,
            precision=choice.precision,
            threads=options.threads,
            fixed="precision" in choice.asked,
        )

    def session(self) -> ImageSession:
        """Start a new run of frames; image models remember nothing."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame, number: int) -> FloatFrame:
        result = self._forward(frame)
        if is_finite(result):
            return result
        if not self._fixed:
            # too small a range; once seen it would come again
            why = f"{self.card.name} gave NaN or infinity in {self.precision}."
            change = Fallback("precision", self.precision, "fp32", why, number)
            self.fallbacks.append(change)
            self._fixed = True
            self._set_precision("fp32")
            result = self._forward(frame)
            if is_finite(result):
                return result
        raise not_finite(self.card, self.name, self.precision)

    def _forward(self, frame: FloatFrame) -> FloatFrame:
        padded = pad(frame, self.card)
        with inference(self.card, frame, self.device):
            # (h, w, 3) seen as (1, 3, h, w) is channels last already
            batch = _as_tensor(padded).permute(2, 0, 1)[None]
            output = self._module(batch.to(self.device, self._dtype))
            image = output[0].permute(1, 2, 0).float().clamp_(0, 1)
            result: FloatFrame = image.cpu().numpy()
        return crop(result, frame, self.card)

    def _set_precision(self, precision: str) -> None:
        import torch

        kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        self.precision, self._dtype = precision, kinds[precision]
        self._module.to(self._dtype)
        # torch's stubs know no memory format in Module.to with a device
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def configure_device(device: str, threads: int | None) -> str:
    """Check a device and set the CPU's threads, for all of torch.

    Returns:
        ``cpu`` or ``cuda:<i>``.

    Raises:
        MissingExtraError: torch is not installed.
        DeviceUnavailableError: the device does not exist.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("The torch runtime", "torch") from error
    gpu = cuda_index(device)
    if gpu is None:
        torch.set_num_threads(threads or physical_cores())
        return "cpu"
    require_device(f"cuda:{gpu}")
    return f"cuda:{gpu}"


def require_device(device: str) -> None:
    """Check a device that was named.

    Raises:
        DeviceUnavailableError: torch, which must be installed, does not see it.
    """
    gpu = cuda_index(device)
    if gpu is None:
        return
    import torch

    if gpu >= torch.cuda.device_count():
        raise DeviceUnavailableError(
            f"There is no device cuda:{gpu}; torch sees "
            f"{torch.cuda.device_count()} GPUs.",
            "Use --device cpu, or install a build of torch for your GPU.",
        )


@contextmanager
def inference(card: ModelCard, frame: FloatFrame, device: str) -> Iterator[None]:
    """Compute without gradients; torch's errors become upframe's.

    Raises:
        RuntimeFailure: what is inside failed.
    """
    import torch

    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        if _is_out_of_memory(error):
            raise no_memory(card, frame, device) from error
        raise RuntimeFailure(
            f"{card.name} failed on {device}: {error}",
            "Try --device cpu, or another model.",
        ) from error


def _as_tensor(frame: FloatFrame) -> torch.Tensor:
    import torch

    # torch warns of arrays that may not be written, although it only reads here
    return torch.from_numpy(frame if frame.flags.writeable else np.array(frame))


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error)
