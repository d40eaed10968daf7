"""The interface that every runtime offers to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from upframe.weights.card import ModelCard

FloatFrame = NDArray[np.float32]
"""One picture, (H, W, 3), RGB, float32 in [0, 1], C-contiguous."""


class Session(Protocol):
    """One run over consecutive frames of one scene; outputs come in order.

    Image models answer every push at once; temporal models may keep frames back
    until later pushes or the flush. Over a whole session exactly one output
    leaves for every frame that entered.
    """

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns outputs (s*h, s*w, 3), maybe none."""
        ...

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the outputs that are still owed."""
        ...


State = Mapping[str, NDArray[Any]]
"""What a chunk leaves to the next one of its scene, by names; its size is bounded."""


@runtime_checkable
class ContinuedSession(Session, Protocol):
    """A session that depends on where in the video it is, or on frames long gone."""

    def begin(self, first: int, state: State) -> None:
        """Come before the first push, if at all.

        Args:
            first: number of the first frame that will be pushed, in the whole video.
            state: of the session before in the same scene; empty at its start.
        """
        ...

    def state(self) -> State:
        """What the next session of the scene is to be given; asked after the flush."""
        ...


class Runtime(Protocol):
    """A loaded model on a device.

    Raises:
        RuntimeFailure: from sessions, when the network fails or gives NaN.
    """

    card: ModelCard
    name: str
    """``onnx``, ``torch``, ``resampling``, ..."""
    device: str
    """``cpu``, ``cuda:0``, ..."""

    def session(self) -> Session:
        """Start on a new run of consecutive frames."""
        ...
