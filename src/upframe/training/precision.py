"""Where a run computes and with how many bits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from upframe.errors import UsageError
from upframe.runtimes.devices import cuda_index

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of a recipe.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        local_rank: number of this process on its machine; ``auto`` and ``cuda`` give
            each process a GPU of its own.

    Raises:
        UsageError: if there is no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    index = cuda_index(name)
    if index is None:
        return torch.device("cpu")
    if name == "cuda":
        index = local_rank
    if index >= torch.cuda.device_count():
        raise UsageError(
            f"PyTorch {torch.__version__} sees {torch.cuda.device_count()} GPUs, so "
            f"there is no cuda:{index}.",
            "Use --set device=cpu, or a build of PyTorch for your GPU.",
        )
    return torch.device("cuda", index)


class Precision:
    """Mixed precision of the forward pass, and the scale of the loss."""

    def __init__(
        self, amp: Literal["off", "bf16", "fp16"], device: torch.device
    ) -> None:
        """Prepare it.

        Raises:
            UsageError: for mixed precision on a CPU.
        """
        if amp != "off" and device.type != "cuda":
            raise UsageError(
                f"optimiser.amp: {amp} needs a GPU; this run is on the CPU.",
                "Use --set optimiser.amp=off.",
            )
        self._device = device.type
        self._type = _TYPES.get(amp)
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        """In which networks run."""
        return torch.autocast(
            self._device, dtype=self._type, enabled=self._type is not None
        )
