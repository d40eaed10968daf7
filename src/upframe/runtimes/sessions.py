"""The session of models that know no time."""

from __future__ import annotations

from collections.abc import Callable

from upframe.runtimes.base import FloatFrame


class ImageSession:
    """Session of a model that answers every frame by itself and at once.

    Args:
        run: maps a frame (h, w, 3) to its output (s*h, s*w, 3).
    """

    def __init__(self, run: Callable[[FloatFrame], FloatFrame]) -> None:
        self._run = run

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Upscale a frame (h, w, 3) to (s*h, s*w, 3).

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        return [self._run(frame)]

    def flush(self) -> list[FloatFrame]:
        """Nothing is ever owed."""
        return []
