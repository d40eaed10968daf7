"""What all runtimes share: where a model runs, what fell back, how frames are tiled."""

from __future__ import annotations

from upframe.planning.tiles import TileGrid
from upframe.runtimes.base import Session
from upframe.runtimes.choice import Fallback
from upframe.runtimes.tiling import TiledSession
from upframe.weights.card import ModelCard


class LoadedModel:
    """A model on a device; subclasses add `session`.

    Args:
        card: the card of the model.
        device: ``cpu``, ``cuda:0``, ...
        precision: ``fp32``, ``int8``, ...
    """

    name: str

    def __init__(
        self, card: ModelCard, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        self.card = card
        self.device = device
        self.precision = precision
        self.fallbacks: list[Fallback] = []

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        raise NotImplementedError

    def tiled_session(self, grid: TileGrid) -> Session:
        """One session per tile; runtimes that cut frames themselves override this."""
        return TiledSession(self, grid)
