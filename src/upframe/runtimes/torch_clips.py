"""PyTorch with networks of clips: step by step, or a chunk as a whole.

Needs the extra ``[torch]``; this module itself imports without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upframe.runtimes.base import FloatFrame, Marks
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import crop, is_finite, not_finite, pad
from upframe.runtimes.recurrent import WHOLE_FROM, RecurrentSession
from upframe.runtimes.sessions import SessionBase
from upframe.runtimes.torch import place, protected
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    import torch

    from upframe.systems.mia_vsr.model import MIAVSR
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite
    from upframe.systems.mia_vsr_lite.stream import Memory


class TorchRecurrentRuntime(LoadedModel):
    """A network that walks forward, in float32: MIA-VSR lite.

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
        super().__init__(card, place(device, threads))
        self._ratio = keep_ratio
        from upframe.systems.mia_vsr_lite.stream import StreamStep
        from upframe.systems.mia_vsr_lite.whole import WholeStep

        network = network.to(self.device).eval()
        self._masked = StreamStep(network, whole_maps=WHOLE_FROM, overwrite=True).to(
            self.device
        )
        self._whole = WholeStep(network).to(self.device)

    def session(self) -> RecurrentSession:
        """Start on a new run of consecutive frames."""
        return RecurrentSession(self.card, self, self._ratio)

    def start(self, height: int, width: int) -> Memory:
        """Zeros."""
        return self._masked.start(height, width)

    def whole(
        self, frames: FloatFrame, first: bool, state: Memory
    ) -> tuple[FloatFrame, Memory]:
        """See ``Steps``."""
        with protected(self.card, frames[0], self.device):
            picture, hidden = self._whole(
                self._tensor(frames), self._tensor(first), state.hidden
            )
            return self._picture(picture), state._replace(hidden=hidden)

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
        with protected(self.card, frames[0], self.device):
            out = self._masked(
                self._tensor(frames),
                self._tensor(first),
                self._tensor(refresh),
                self._tensor(keep_ratio),
                state,
            )
            marks: Marks = out.computed.reshape(-1, height, width).cpu().numpy()
            return self._picture(out.frame), marks, out.memory

    def _tensor(self, value: Any) -> torch.Tensor:
        import torch

        return torch.as_tensor(value, device=self.device)

    def _picture(self, picture: torch.Tensor) -> FloatFrame:
        result: FloatFrame = picture[0].cpu().numpy()
        if not is_finite(result):
            raise not_finite(self.card, self.name)
        return result


class TorchClipRuntime(LoadedModel):
    """A network that needs a chunk as a whole, in float32: MIA-VSR.

    Args:
        card: the card of the model.
        network: moved to the device; its keep ratio is set.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads, for all of torch; None for one per physical core.
        keep_ratio: largest share of tokens to compute; None what training taught.

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
        super().__init__(card, place(device, threads))
        self._network = network.to(self.device).eval()
        self._network.keep_ratio = keep_ratio

    def session(self) -> ClipSession:
        """Start on a new run of consecutive frames."""
        return ClipSession(self)

    def run(self, frames: list[FloatFrame]) -> list[FloatFrame]:
        """Frames (h, w, 3) of one scene to (4h, 4w, 3).

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        import torch

        padded = np.stack([pad(frame, self.card) for frame in frames])
        with protected(self.card, padded[0], self.device):
            clip = torch.from_numpy(padded).permute(0, 3, 1, 2)[None]
            made = self._network(clip.to(self.device))[0].clamp(0, 1)
            pictures = made.permute(0, 2, 3, 1).cpu().numpy()
        if not is_finite(pictures):
            raise not_finite(self.card, self.name)
        return [
            crop(picture, frame, self.card)
            for picture, frame in zip(pictures, frames, strict=True)
        ]


class ClipSession(SessionBase):
    """Collects the frames of a chunk and restores them at its end."""

    def __init__(self, runtime: TorchClipRuntime) -> None:
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
