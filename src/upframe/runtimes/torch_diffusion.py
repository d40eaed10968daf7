"""Diffusion systems in PyTorch, frame by frame: what their runtimes share.

Each system has a session of its own that bounds memory (``systems/<name>/runtime.py``).
Noise depends on the seed and the number of the frame, so a session gets the number of
its first frame, and the carried state of the chunk before.

Subclasses need the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from upframe.runtimes.base import FloatFrame, State
from upframe.runtimes.choice import Choice
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import is_finite, not_finite
from upframe.runtimes.sessions import SessionBase
from upframe.runtimes.spec import RunOptions
from upframe.runtimes.torch import configure_device, inference
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_Value = TypeVar("_Value")


class DiffusionRuntime(LoadedModel):
    """Base of the runtimes of diffusion systems; subclasses add `session`.

    Args:
        card: the card of the model.
        network: moved to the device.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads, for all of torch; None for one per physical core.
        keep_ratio: for PatchScaler: steps to spend, as a share of the most.
        seed: of the noise, 0 to 2**64 - 1.
        precision: that of the network, which is not changed.

    Raises:
        MissingExtraError: torch is not installed.
        DeviceUnavailableError: the device does not exist.
    """

    name = "torch"

    def __init__(
        self,
        card: ModelCard,
        network: torch.nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        keep_ratio: float | None = None,
        seed: int = 0,
        precision: str = "fp32",
    ) -> None:
        super().__init__(card, configure_device(device, threads), precision)
        self.network: Any = network.to(self.device).eval()
        self.keep_ratio = keep_ratio
        self.seed = seed

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
            threads=options.threads,
            keep_ratio=options.keep_ratio,
            seed=options.seed or 0,
            precision=choice.precision,
        )

    def run(self, frame: FloatFrame, compute: Callable[[], _Value]) -> _Value:
        """Call a function without gradients; torch's errors become upframe's.

        Raises:
            RuntimeFailure: it failed.
        """
        with inference(self.card, frame, self.device):
            return compute()

    def tensor(self, frame: FloatFrame) -> Tensor:
        """(h, w, 3) to (1, 3, h, w) on the device."""
        import torch

        planes = np.ascontiguousarray(frame.transpose(2, 0, 1)[None])
        return torch.from_numpy(planes).to(self.device)

    def frames(self, finished: list[Tensor]) -> list[FloatFrame]:
        """(3, H, W) around [0, 1] to (H, W, 3) in [0, 1].

        Raises:
            RuntimeFailure: there is NaN or infinity.
        """
        made = []
        for planes in finished:
            frame = planes.float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
            if not is_finite(frame):
                raise not_finite(self.card, self.name, self.precision)
            made.append(np.ascontiguousarray(frame))
        return made


class DiffusionSession(SessionBase):
    """Base of the sessions: where they begin, and conversion of frames."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self._first = 0
        self._carried: State = {}
        self._frame: FloatFrame | None = None
        """The last frame, for messages."""

    def begin(self, first: int, state: State) -> None:
        """Take the number of the first frame, and the carried state."""
        self._first, self._carried = first, state

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns outputs (4h, 4w, 3), maybe none.

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        runtime, self._frame = self._runtime, frame
        finished = runtime.run(frame, lambda: self._push(runtime.tensor(frame)))
        return runtime.frames(finished)

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the outputs that are still owed."""
        if self._frame is None:
            return []
        return self._runtime.frames(self._runtime.run(self._frame, self._flush))

    def _push(self, frame: Tensor) -> list[Tensor]:
        """(1, 3, h, w) to finished frames (3, H, W)."""
        raise NotImplementedError

    def _flush(self) -> list[Tensor]:
        return []
