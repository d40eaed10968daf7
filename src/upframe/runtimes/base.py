"""The interface that every runtime offers to the engine."""

from __future__ import annotations

from typing import Protocol

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
