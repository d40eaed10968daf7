"""Resampling as a runtime: bicubic and Lanczos, the baselines and the fallback."""

from __future__ import annotations

from typing import Literal

import numpy as np

from upframe.errors import WeightsError
from upframe.nn.resize import imresize
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.choice import Choice
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.sessions import ImageSession
from upframe.runtimes.spec import (
    DeviceUnavailableError,
    Files,
    RunOptions,
    RuntimeSpec,
    core,
)
from upframe.weights.card import ModelCard

_KERNELS: dict[str, Literal["bicubic", "lanczos3"]] = {
    "bicubic": "bicubic",
    "lanczos": "lanczos3",
}


class ResamplingRuntime(LoadedModel):
    """Upscales by ``card.scale`` with the kernel that the card is named after.

    Args:
        card: a card of the system ``resampling``, named ``bicubic`` or ``lanczos``.

    Raises:
        WeightsError: the card has another name.
    """

    name = "resampling"

    def __init__(self, card: ModelCard) -> None:
        if card.name not in _KERNELS:
            raise WeightsError(
                f"There is no resampling called '{card.name}'.",
                f"Known: {', '.join(_KERNELS)}.",
            )
        super().__init__(card)
        self._kernel = _KERNELS[card.name]

    def session(self) -> ImageSession:
        """Start a new run of frames; nothing is remembered."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame, number: int) -> FloatFrame:
        del number
        height, width = (side * self.card.scale for side in frame.shape[:2])
        result = imresize(frame, size=(height, width), kernel=self._kernel)
        # both kernels overshoot at edges
        return np.clip(result, 0, 1, out=result)


def _runs(card: ModelCard, files: Files) -> bool:
    del files
    return card.system == "resampling"


def _precisions(card: ModelCard, files: Files, device: str) -> tuple[str, ...]:
    del card, files, device
    return ("fp32",)


def _require(device: str) -> None:
    if device != "cpu":
        raise DeviceUnavailableError(
            f"Resampling cannot use {device}; it is computed on the CPU.",
            "Leave --device out, or use a model with a network.",
        )


def _open(
    card: ModelCard, files: Files, choice: Choice, options: RunOptions
) -> Runtime:
    del files, choice, options
    return ResamplingRuntime(card)


SPEC = RuntimeSpec(
    name="resampling",
    title="Resampling",
    package="numpy",
    extra=core,
    named=False,
    runs=_runs,
    found=lambda: ("cpu",),
    require=_require,
    precisions=_precisions,
    open=_open,
)
