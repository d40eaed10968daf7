"""OASIS as a runtime: overlapping chunks of a few frames.

Needs the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from upframe.runtimes.base import Session
from upframe.runtimes.torch_diffusion import DiffusionRuntime, DiffusionSession

if TYPE_CHECKING:
    from torch import Tensor

    from upframe.systems.oasis.model import OASIS


class OASISRuntime(DiffusionRuntime):
    """OASIS in torch; see `DiffusionRuntime`."""

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return _Session(self)


class _Session(DiffusionSession):
    """Feeds the system, which takes frames when it wants them.

    It is asked for an output only when so many frames wait that it cannot run out of
    them.
    """

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        from upframe.systems.oasis.model import Chunking

        model: OASIS = runtime.network
        self._chunking = Chunking(**runtime.card.config.get("chunking", {}))
        self._most = 1 + self._chunking.length * model.decoder.temporal
        self._waiting: deque[Tensor] = deque()
        self._outputs: Iterator[Tensor] | None = None

    def _push(self, frame: Tensor) -> list[Tensor]:
        self._waiting.append(frame)
        finished = []
        while len(self._waiting) >= self._most:
            finished.append(next(self._stream())[0])
        return finished

    def _flush(self) -> list[Tensor]:
        finished = [output[0] for output in self._stream()]
        self._outputs = None
        return finished

    def _stream(self) -> Iterator[Tensor]:
        if self._outputs is None:
            model: OASIS = self._runtime.network
            self._outputs = model.stream(
                self._frames(),
                chunking=self._chunking,
                first=self._first // model.decoder.temporal,
                seed=self._runtime.seed,
            )
        return self._outputs

    def _frames(self) -> Iterator[Tensor]:
        while self._waiting:
            yield self._waiting.popleft()
