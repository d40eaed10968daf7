"""Resampling as a runtime: bicubic and Lanczos, the baselines and the fallback."""

from __future__ import annotations

from typing import Literal

import numpy as np

from upframe.errors import WeightsError
from upframe.nn.resize import imresize
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.sessions import ImageSession
from upframe.weights.card import ModelCard

_KERNELS: dict[str, Literal["bicubic", "lanczos3"]] = {
    "bicubic": "bicubic",
    "lanczos": "lanczos3",
}


class ResamplingRuntime:
    """Enlarges by ``card.scale`` with the kernel that the card is named after.

    Args:
        card: a card of the system ``resampling``, named ``bicubic`` or ``lanczos``.

    Raises:
        WeightsError: the card has another name.
    """

    name = "resampling"
    device = "cpu"

    def __init__(self, card: ModelCard) -> None:
        if card.name not in _KERNELS:
            raise WeightsError(
                f"There is no resampling called '{card.name}'.",
                f"Known: {', '.join(_KERNELS)}.",
            )
        self.card = card
        self._kernel = _KERNELS[card.name]

    def session(self) -> ImageSession:
        """Start on a new run of frames; nothing is remembered."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame) -> FloatFrame:
        height, width = (side * self.card.scale for side in frame.shape[:2])
        result = imresize(frame, size=(height, width), kernel=self._kernel)
        # both kernels overshoot at edges
        return np.clip(result, 0, 1, out=result)
