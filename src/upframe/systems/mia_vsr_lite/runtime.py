"""MIA-VSR lite as a runtime in PyTorch: step by step.

Needs the extra ``[torch]``; this module itself imports without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from upframe.runtimes.base import FloatFrame, Marks
from upframe.runtimes.choice import Choice
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import is_finite, not_finite
from upframe.runtimes.recurrent import WHOLE_FROM, RecurrentSession
from upframe.runtimes.spec import RunOptions
from upframe.runtimes.torch import configure_device, inference
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    import torch

    from upframe.systems.mia_vsr_lite.model import MIAVSRLite
    from upframe.systems.mia_vsr_lite.stream import Memory


class MIAVSRLiteRuntime(LoadedModel):
    """MIA-VSR lite in torch, in float32: a recurrent model that runs forward in time.

    Args:
        card: the card of the model.
        network: moved to the device.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads, for all of torch; None for one per physical core.
        keep_ratio: see ``RecurrentSession``.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: the device does not exist.
    """

    name = "torch"

    def __init__(
        self,
        card: ModelCard,
        network: MIAVSRLite,
        *,
        device: str = "cpu",
        threads: int | None = None,
        keep_ratio: float | None = None,
    ) -> None:
        super().__init__(card, configure_device(device, threads))
        self._ratio = keep_ratio
        from upframe.systems.mia_vsr_lite.stream import StreamStep
        from upframe.systems.mia_vsr_lite.whole import WholeStep

        network = network.to(self.device).eval()
        self._masked = StreamStep(network, whole_maps=WHOLE_FROM, overwrite=True).to(
            self.device
        )
        self._whole = WholeStep(network).to(self.device)

    @classmethod
    def open(
        cls, card: ModelCard, network: MIAVSRLite, choice: Choice, options: RunOptions
    ) -> Self:
        """See ``SystemSpec.runtime``."""
        return cls(
            card,
            network,
            device=choice.device,
            threads=options.threads,
            keep_ratio=options.keep_ratio,
        )

    def session(self) -> RecurrentSession:
        """Start a new run of consecutive frames."""
        return RecurrentSession(self.card, self, self._ratio)

    def start(self, height: int, width: int) -> Memory:
        """Zeros."""
        return self._masked.start(height, width)

    def whole(
        self, frames: FloatFrame, first: bool, state: Memory
    ) -> tuple[FloatFrame, Memory]:
        """See ``Steps``."""
        with inference(self.card, frames[0], self.device):
            frame, hidden = self._whole(
                self._tensor(frames), self._tensor(first), state.hidden
            )
            return self._frame(frame), state._replace(hidden=hidden)

    def masked(
        self,
        frames: FloatFrame,
        first: bool,
        refresh: bool,
        keep_ratio: float,
        state: Memory,
    ) -> tuple[FloatFrame, Marks, Memory]:
        """See ``Steps``."""
        height, width = (side // 8 for side in frames.shape[1:3])
        with inference(self.card, frames[0], self.device):
            out = self._masked(
                self._tensor(frames),
                self._tensor(first),
                self._tensor(refresh),
                self._tensor(keep_ratio),
                state,
            )
            marks: Marks = out.computed.reshape(-1, height, width).cpu().numpy()
            return self._frame(out.frame), marks, out.memory

    def _tensor(self, value: Any) -> torch.Tensor:
        import torch

        return torch.as_tensor(value, device=self.device)

    def _frame(self, output: torch.Tensor) -> FloatFrame:
        result: FloatFrame = output[0].cpu().numpy()
        if not is_finite(result):
            raise not_finite(self.card, self.name)
        return result
