"""Names and values of systems that cards store; cheap to import."""

from __future__ import annotations

from typing import Literal

Tiling = Literal["pictures", "own", "none"]
"""How a frame that is too large is cut: into images that are upscaled one by one, by
the system itself, or not at all."""


def canonical_name(name: str) -> str:
    """The one spelling of a system's or a task's name.

    Cards, checkpoints, recipes and weight files of 0.1 have underscores where names now
    have hyphens (``mia_vsr_lite``); they stay readable through this function.
    """
    return name.replace("_", "-")
