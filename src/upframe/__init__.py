"""Video super-resolution you can trust with your videos.

``upscale`` turns one file into another, ``Upscaler`` does the same for frames of
your own, ``list_models`` tells what there is, and ``load`` gives a network as a
plain torch module. Everything is imported on first use: ``import upframe`` costs
nothing and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upframe._version import __version__
    from upframe.engine.files import upscale
    from upframe.engine.finish import Report
    from upframe.engine.pipeline import Progress
    from upframe.engine.stream import Upscaler
    from upframe.errors import (
        InputError,
        Interrupted,
        MissingExtraError,
        OutputError,
        OutputExistsError,
        ResumeError,
        RuntimeFailure,
        UpframeError,
        UsageError,
        VerificationError,
        WeightsError,
    )
    from upframe.weights.card import ModelCard
    from upframe.weights.index import list_models
    from upframe.weights.networks import load

_HOMES = {
    "__version__": "upframe._version",
    "InputError": "upframe.errors",
    "Interrupted": "upframe.errors",
    "MissingExtraError": "upframe.errors",
    "ModelCard": "upframe.weights.card",
    "OutputError": "upframe.errors",
    "OutputExistsError": "upframe.errors",
    "Progress": "upframe.engine.pipeline",
    "Report": "upframe.engine.finish",
    "ResumeError": "upframe.errors",
    "RuntimeFailure": "upframe.errors",
    "UpframeError": "upframe.errors",
    "Upscaler": "upframe.engine.stream",
    "UsageError": "upframe.errors",
    "VerificationError": "upframe.errors",
    "WeightsError": "upframe.errors",
    "list_models": "upframe.weights.index",
    "load": "upframe.weights.networks",
    "upscale": "upframe.engine.files",
}

__all__ = [
    "InputError",
    "Interrupted",
    "MissingExtraError",
    "ModelCard",
    "OutputError",
    "OutputExistsError",
    "Progress",
    "Report",
    "ResumeError",
    "RuntimeFailure",
    "UpframeError",
    "Upscaler",
    "UsageError",
    "VerificationError",
    "WeightsError",
    "__version__",
    "list_models",
    "load",
    "upscale",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'upframe' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
