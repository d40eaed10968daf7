"""What sessions share, and the session of models that know no time."""

from __future__ import annotations

from collections.abc import Callable

from upframe.runtimes.base import FloatFrame, Marks, State


class SessionBase:
    """Defaults of a `Session` that carries no state and has no masks."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the next frame, in the whole video."""

    def begin(self, first: int, state: State) -> None:
        """Take the number of the first frame."""
        del state
        self.number = first

    def state(self) -> State:
        """Nothing is carried."""
        return {}

    @property
    def computed(self) -> list[Marks] | None:
        """None: every frame is computed as a whole."""
        return None


class ImageSession(SessionBase):
    """Session of a model that answers every frame by itself and at once.

    Args:
        run: maps a frame (h, w, 3), and its number, to its output (s*h, s*w, 3).
    """

    def __init__(self, run: Callable[[FloatFrame, int], FloatFrame]) -> None:
        super().__init__()
        self._run = run

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Upscale a frame (h, w, 3) to (s*h, s*w, 3).

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        output = self._run(frame, self.number)
        self.number += 1
        return [output]

    def flush(self) -> list[FloatFrame]:
        """Nothing is ever owed."""
        return []
