"""Names that moved to `upframe.runtimes.registry`."""

from __future__ import annotations

from upframe.runtimes.registry import (
    PRECISIONS,
    check_keep_ratio,
    check_seed,
    choose,
    open_runtime,
)
from upframe.runtimes.registry import RUNTIME_NAMES as RUNTIMES
from upframe.runtimes.spec import Files
from upframe.weights.card import ModelCard

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "check_keep_ratio",
    "check_seed",
    "choose_precision",
    "open_runtime",
]


def choose_precision(
    card: ModelCard,
    paths: Files,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> str:
    """The precision of `choose`; an opened runtime carries it, too."""
    return choose(card, paths, runtime, device, precision).precision
