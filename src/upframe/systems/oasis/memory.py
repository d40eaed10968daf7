"""What a run of OASIS will take, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from upframe.errors import RuntimeFailure, UsageError
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.oasis.model import OASIS, Chunking


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the device."""

    weights: int
    """Of all components."""
    working: int
    """Most that is alive at once while a long clip goes through, beside the weights."""

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.working

    def require(self, available: int) -> None:
        """Refuse what cannot fit.

        Raises:
            RuntimeFailure: more is needed than there is.
        """
        if self.total > available:
            raise RuntimeFailure(
                f"This needs {self.total / 2**30:.2f} GiB of memory, weights "
                f"{self.weights / 2**30:.2f}; there are {available / 2**30:.2f} GiB.",
                "Use shorter chunks, smaller frames, or dtype=torch.bfloat16.",
            )


def plan_memory(
    system: OASIS,
    height: int,
    width: int,
    *,
    chunking: Chunking | None = None,
    on_cpu: bool = True,
) -> MemoryPlan:
    """Count what a clip will need that is longer than a chunk.

    Args:
        system: on the meta device, as `OASIS.on_meta` makes it.
        height: of the input frames.
        width: of the input frames.
        chunking: as for `OASIS.stream`.
        on_cpu: whether it will run on a CPU.

    Raises:
        UsageError: the system is not on the meta device, or a size is not positive.
    """
    if any(not value.is_meta for value in system.parameters()):
        raise UsageError(
            "Memory is planned on a system without weights.", "Use OASIS.on_meta."
        )
    if min(height, width) < 1:
        raise UsageError(f"There are no frames of {width}x{height}.", "Check the size.")
    cut = chunking or Chunking()
    # enough for a second chunk, when the first one's latents are still held
    count = 1 + system.decoder.temporal * cut.length
    frame = torch.empty(1, 3, height, width, device="meta")

    def run() -> None:
        for _ in system.stream((frame for _ in range(count)), chunking=cut):
            pass

    values = (*system.parameters(), *system.buffers())
    return MemoryPlan(
        weights=sum(value.numel() * value.element_size() for value in values),
        working=live_bytes(run, unfolding=on_cpu),
    )
