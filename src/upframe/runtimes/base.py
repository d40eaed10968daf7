"""The interfaces between the engine and whatever runs a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upframe.planning.tiles import TileGrid
from upframe.runtimes.choice import Fallback
from upframe.weights.card import ModelCard

FloatFrame = NDArray[np.float32]
"""One frame, (H, W, 3), RGB, float32 in [0, 1], C-contiguous."""
State = Mapping[str, NDArray[Any]]
"""Carried state: what a chunk hands to the next one of its scene, by name. Its size is
bounded."""
Marks = NDArray[np.float32]
"""(1 + groups, h/8, w/8): 1 where the step, and each group in it, computed a window."""


class Session(Protocol):
    """One run over consecutive frames of one scene; outputs come in order.

    Image models answer every push at once; temporal models may keep frames back
    until later pushes or the flush. Over a whole session exactly one output
    leaves for every frame that entered. `upframe.runtimes.sessions.SessionBase` has
    defaults for all but `push` and `flush`.
    """

    def begin(self, first: int, state: State) -> None:
        """Call before the first push, if at all.

        Args:
            first: number of the first frame that will be pushed, in the whole video.
            state: carried state of the session before in the same scene; empty at the
                start of a scene.
        """
        ...

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns outputs (s*h, s*w, 3), maybe none."""
        ...

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the outputs that are still owed."""
        ...

    def state(self) -> State:
        """Carried state for the next session of the scene; asked after the flush."""
        ...

    @property
    def computed(self) -> list[Marks] | None:
        """Marks of the outputs of the last push or flush; None for unmasked models."""
        ...


class Runtime(Protocol):
    """A loaded model on a device.

    `upframe.runtimes.loaded.LoadedModel` has all of it but `session`.

    Raises:
        RuntimeFailure: from sessions, when the network fails or gives NaN.
    """

    card: ModelCard
    name: str
    """Its name in the registry: ``onnx``, ``torch``, ``resampling``, ..."""
    device: str
    """``cpu``, ``cuda:0``, ...; where it really runs."""
    precision: str
    """``fp32``, ``int8``, ...; what it really computes in, also after a fallback."""
    fallbacks: list[Fallback]
    """What it had to give up, in order; grows while sessions run. Record it beside each
    finished chunk: ``choice.after(fallbacks)`` is what a resumed run starts with."""

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        ...

    def tiled_session(self, grid: TileGrid) -> Session:
        """The same, for frames that are cut into the tiles of ``grid``."""
        ...
