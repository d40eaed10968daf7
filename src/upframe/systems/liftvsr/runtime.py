"""LiftVSR as a runtime: segments in order; the cache is the carried state.

Needs the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from upframe.runtimes.base import Session, State
from upframe.runtimes.torch_diffusion import DiffusionRuntime, DiffusionSession

if TYPE_CHECKING:
    from torch import Tensor

    from upframe.systems.liftvsr.model import LiftVSR


class LiftVSRRuntime(DiffusionRuntime):
    """LiftVSR in torch; see `DiffusionRuntime`."""

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return _Session(self)


class _Session(DiffusionSession):
    """Carries the cache from chunk to chunk."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        self._segments: Any = None
        self._state: State = {}

    def state(self) -> State:
        """The system's own: the cache, and the number of the next frame."""
        return self._state

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._segments is None:
            self._segments = self._open()
        finished: list[Tensor] = self._segments.push(frame)
        return finished

    def _flush(self) -> list[Tensor]:
        state: Mapping[str, Tensor] = self._segments.state()
        # an incomplete segment remains only where the scene ends
        done = len(state["waiting"]) == 0
        self._state = {k: v.cpu().numpy() for k, v in state.items()} if done else {}
        finished: list[Tensor] = self._segments.flush()
        return finished

    def _open(self) -> Any:
        import torch

        from upframe.systems.liftvsr import stream

        model: LiftVSR = self._runtime.network
        options = stream.Options(self._runtime.seed, self._first)
        session = stream.Session(model, options)
        if self._carried:
            session.load_state(
                {name: torch.from_numpy(v.copy()) for name, v in self._carried.items()}
            )
        return session
