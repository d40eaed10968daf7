"""Tiled runs: any runtime on frames that do not fit into memory at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from upframe.planning.tiles import Blender, TileGrid
from upframe.runtimes.base import FloatFrame, Marks, Runtime, Session, State


def sessions(runtime: Runtime, grid: TileGrid) -> Callable[[], Session]:
    """What starts sessions on whole frames, or on tiles where there are several."""
    if grid.single:
        return runtime.session
    return lambda: runtime.tiled_session(grid)


class TiledSession:
    """A session made of one inner session per tile, blended without seams.

    Tiles run one after the other; an output waits only until its last tile is there.
    The result equals that of the whole frame, up to rounding, when the network looks
    no further than ``grid.margin`` pixels around each of its input pixels; beyond that
    the difference is what the network makes of pixels that far away.

    Args:
        runtime: what runs each tile.
        grid: the tiles, for frames of ``grid.width`` x ``grid.height``.
    """

    computed: list[Marks] | None = None
    """Tiles have no masks of whole frames."""

    def __init__(self, runtime: Runtime, grid: TileGrid) -> None:
        self._grid = grid
        self._scale = runtime.card.scale
        self._sessions: list[Session] = [runtime.session() for _ in grid]

    def begin(self, first: int, state: State) -> None:
        """See `Session`; every tile gets its own part of the state."""
        for number, session in enumerate(self._sessions):
            mark = f"{number}/"
            own = {
                k.removeprefix(mark): v for k, v in state.items() if k.startswith(mark)
            }
            session.begin(first, own)

    def state(self) -> State:
        """The states of all tiles, their names behind the number of the tile."""
        return {
            f"{number}/{name}": value
            for number, session in enumerate(self._sessions)
            for name, value in session.state().items()
        }

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns outputs (s*h, s*w, 3), maybe none.

        Raises:
            ValueError: the frame has not the size of the grid.
            RuntimeFailure: the network failed.
        """
        if frame.shape[:2] != (self._grid.height, self._grid.width):
            raise ValueError(f"the grid is not made for frames of {frame.shape}")
        return self._collect(frame)

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the outputs that are still owed."""
        return self._collect(None)

    def _collect(self, frame: FloatFrame | None) -> list[FloatFrame]:
        blenders: list[Blender] = []
        for tile, session in zip(self._grid, self._sessions, strict=True):
            if frame is None:
                outputs = session.flush()
            else:
                outputs = session.push(np.ascontiguousarray(tile.crop(frame)))
            while len(blenders) < len(outputs):
                blenders.append(Blender(self._grid, self._scale))
            for blender, output in zip(blenders, outputs, strict=False):
                blender.add(tile, output)
        return [blender.result() for blender in blenders]
