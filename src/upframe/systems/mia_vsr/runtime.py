"""MIA-VSR as a runtime in PyTorch: a chunk as a whole.

Needs the extra ``[torch]``; this module itself imports without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from upframe.runtimes.base import FloatFrame, Session
from upframe.runtimes.choice import Choice
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import crop, is_finite, not_finite, pad
from upframe.runtimes.sessions import SessionBase
from upframe.runtimes.spec import RunOptions
from upframe.runtimes.torch import configure_device, inference
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    from upframe.systems.mia_vsr.model import MIAVSR


class MIAVSRRuntime(LoadedModel):
    """MIA-VSR in torch, in float32; it needs a chunk as a whole.

    Args:
        card: the card of the model.
        network: moved to the device; its keep ratio is set.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads, for all of torch; None for one per physical core.
        keep_ratio: largest share of tokens to compute; None what it was trained for.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: the device does not exist.
    """

    name = "torch"

    def __init__(
        self,
        card: ModelCard,
        network: MIAVSR,
        *,
        device: str = "cpu",
        threads: int | None = None,
        keep_ratio: float | None = None,
    ) -> None:
        super().__init__(card, configure_device(device, threads))
        self._network = network.to(self.device).eval()
        self._network.keep_ratio = keep_ratio

    @classmethod
    def open(
        cls, card: ModelCard, network: MIAVSR, choice: Choice, options: RunOptions
    ) -> Self:
        """See ``SystemSpec.runtime``."""
        return cls(
            card,
            network,
            device=choice.device,
            threads=options.threads,
            keep_ratio=options.keep_ratio,
        )

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return _Session(self)

    def run(self, frames: list[FloatFrame]) -> list[FloatFrame]:
        """Frames (h, w, 3) of one scene to (4h, 4w, 3).

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        import torch

        padded = np.stack([pad(frame, self.card) for frame in frames])
        with inference(self.card, padded[0], self.device):
            clip = torch.from_numpy(padded).permute(0, 3, 1, 2)[None]
            planes = self._network(clip.to(self.device))[0].clamp(0, 1)
            outputs = planes.permute(0, 2, 3, 1).cpu().numpy()
        if not is_finite(outputs):
            raise not_finite(self.card, self.name)
        return [
            crop(output, frame, self.card)
            for output, frame in zip(outputs, frames, strict=True)
        ]


class _Session(SessionBase):
    """Collects the frames of a chunk and restores them at its end."""

    def __init__(self, runtime: MIAVSRRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self._frames: list[FloatFrame] = []

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); no output comes before the flush."""
        self._frames.append(frame)
        return []

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns all outputs (4h, 4w, 3).

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        frames, self._frames = self._frames, []
        return self._runtime.run(frames) if frames else []
