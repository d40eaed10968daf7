"""Sessions of recurrent models that run forward in time, with one frame of look-ahead.

Static blocks, and those beyond a keep ratio, are skipped. That needs a memory of every
layer, which costs time where everything moves; so a session chooses, from the frames
alone, between the whole step and the masked one.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upframe.runtimes.base import FloatFrame, Marks
from upframe.runtimes.padding import crop, pad
from upframe.runtimes.sessions import SessionBase
from upframe.weights.card import ModelCard

State = Any
"""What a network carries from frame to frame; only its steps know what it is."""

WINDOW = 8
"""Side of a window in pixels."""
BLOCK = 2
"""Side of what a network without learned masks computes or not, in windows."""
WHOLE_FROM = 0.8
"""Share of a frame from which computing everything takes less time; measured for what
ships, with ONNX Runtime, in docs/notes/mia-vsr-cpu.md."""
_PATIENCE = 8
"""Whole steps after a masked one that computed more than that."""


class Steps(Protocol):
    """The two steps of a network on a device.

    A state that was given to a step may be overwritten by it.

    Raises:
        RuntimeFailure: the network fails or gives NaN.
    """

    def start(self, height: int, width: int) -> State:
        """The state before the first frame, for frames of a padded size."""
        ...

    def whole(
        self, frames: FloatFrame, first: bool, state: State
    ) -> tuple[FloatFrame, State]:
        """Previous, current and next frame (3, h, w, 3) to (4h, 4w, 3).

        The state that comes back is good for whole steps, and for masked ones that
        refresh.
        """
        ...

    def masked(
        self,
        frames: FloatFrame,
        first: bool,
        refresh: bool,
        keep_ratio: float,
        state: State,
    ) -> tuple[FloatFrame, Marks, State]:
        """The same, computing some windows; all if it refreshes.

        A ``keep_ratio`` below 0 computes all windows that are not static.
        """
        ...


class RecurrentSession(SessionBase):
    """One run over consecutive frames; every output comes one push late.

    Args:
        card: of the model.
        steps: the network.
        keep_ratio: largest share of windows to compute, 0 to 1; 1 computes everything,
            None what is not static, and what trained masks keep of it.
    """

    def __init__(
        self, card: ModelCard, steps: Steps, keep_ratio: float | None = None
    ) -> None:
        super().__init__()
        self._card, self._steps = card, steps
        self._ratio = keep_ratio
        self._learned = keep_ratio is None and bool(card.config.get("use_mask", True))
        self._before: FloatFrame | None = None
        self._now: FloatFrame | None = None
        self._size: FloatFrame | None = None
        self._state: State = None
        self._fresh = True
        """Whether the next masked step must refresh."""
        self._patience = 0
        self._static: FloatFrame | None = None
        """The last output, if nothing of it was computed."""
        self._marks: list[Marks] = []

    @property
    def computed(self) -> list[Marks]:
        """Marks of the outputs of the last push or flush."""
        return self._marks

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns the output of the one before.

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        self._marks = []
        self._size = frame
        padded = pad(frame, self._card)
        outputs = [] if self._now is None else [self._step(padded)]
        self._before, self._now = self._now, padded
        return outputs

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the last output."""
        self._marks = []
        if self._now is None:
            return []
        outputs = [self._step(self._now)]
        self._before = self._now = None
        return outputs

    def _step(self, after: FloatFrame) -> FloatFrame:
        assert self._now is not None
        assert self._size is not None
        first = self._before is None
        before = self._now if self._before is None else self._before
        height, width = self._now.shape[:2]
        if first:
            self._state = self._steps.start(height, width)
            self._fresh, self._patience, self._static = True, 0, None
        moved = (before != self._now) | (self._now != after)
        if self._static is not None and not moved.any():
            output, marks = self._static, self._mark(0)
        else:
            frames = np.stack((before, self._now, after))
            output, marks = self._compute(frames, first, moved)
        self._marks.append(marks)
        self._static = output if not marks.any() else None
        return crop(output, self._size, self._card)

    def _compute(
        self, frames: FloatFrame, first: bool, moved: NDArray[np.bool_]
    ) -> tuple[FloatFrame, Marks]:
        if self._is_whole(moved):
            self._fresh = True
            self._patience -= 1
            output, self._state = self._steps.whole(frames, first, self._state)
            return output, self._mark(1)
        output, marks, self._state = self._steps.masked(
            frames,
            first,
            self._fresh,
            -1.0 if self._ratio is None else self._ratio,
            self._state,
        )
        if self._learned and not self._fresh and marks.mean() > WHOLE_FROM:
            self._patience = _PATIENCE
        self._fresh = False
        return output, marks

    def _is_whole(self, moved: NDArray[np.bool_]) -> bool:
        """Whether the whole step is the faster one."""
        if self._ratio is not None:
            return self._ratio >= WHOLE_FROM
        if self._learned:
            return self._patience > 0
        height, width = (side // WINDOW for side in moved.shape[:2])
        windows = moved.reshape(height, WINDOW, width, -1).any(axis=(1, 3))
        # a window is computed if it or a neighbour moves, and its block with it
        padded = np.pad(windows, ((1, 1 + height % BLOCK), (1, 1 + width % BLOCK)))
        down = padded[:-2] | padded[1:-1] | padded[2:]
        due = down[:, :-2] | down[:, 1:-1] | down[:, 2:]
        blocks = due.reshape(due.shape[0] // BLOCK, BLOCK, due.shape[1] // BLOCK, -1)
        return bool(blocks.any(axis=(1, 3)).mean() > WHOLE_FROM)

    def _mark(self, value: float) -> Marks:
        assert self._now is not None
        height, width = (side // WINDOW for side in self._now.shape[:2])
        groups = len(self._card.config["groups"])
        return np.full((1 + groups, height, width), value, np.float32)
