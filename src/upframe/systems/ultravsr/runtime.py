"""UltraVSR as a runtime: it streams, and tiles large frames itself, as latents.

Needs the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upframe.planning.tiles import TileGrid
from upframe.runtimes.base import Session, State
from upframe.runtimes.torch_diffusion import DiffusionRuntime, DiffusionSession

if TYPE_CHECKING:
    from torch import Tensor

    from upframe.systems.ultravsr.model import UltraVSR


class UltraVSRRuntime(DiffusionRuntime):
    """UltraVSR in torch; see `DiffusionRuntime`."""

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return _Session(self)

    def tiled_session(self, grid: TileGrid) -> Session:
        """The same, for frames in tiles of ``grid``, in input pixels."""
        return _Session(self, grid)


class _Session(DiffusionSession):
    """Streams; how clean the scene is was estimated once, at its beginning."""

    def __init__(self, runtime: DiffusionRuntime, grid: TileGrid | None = None) -> None:
        super().__init__(runtime)
        self._grid = grid
        self._stream: Any = None

    def state(self) -> State:
        """``factor``, how clean the scene is."""
        if self._stream is None or self._stream.factor is None:
            return self._carried
        return {"factor": np.array(self._stream.factor, np.float32)}

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._stream is None:
            self._stream = self._open()
        finished: list[Tensor] = self._stream.push(frame)
        return finished

    def _flush(self) -> list[Tensor]:
        finished: list[Tensor] = self._stream.flush()
        return finished

    def _open(self) -> Any:
        from upframe.systems.ultravsr import stream

        model: UltraVSR = self._runtime.network
        known, grid = self._carried.get("factor"), self._grid
        tiles: dict[str, Any] = {}
        if grid is not None:
            # the plan counts input pixels, the system latents
            pixels = model.factor // model.scale
            overlap = grid.overlap // pixels
            height, width = (
                max(-(-side // pixels), 2 * overlap)
                for side in (grid.tile_height, grid.tile_width)
            )
            tiles = {"tile": (height, width), "overlap": overlap}
        options = stream.Options(
            factor=None if known is None else float(known),
            seed=self._runtime.seed,
            first_index=self._first,
            **tiles,
        )
        return stream.Session(model, options)
