"""Weight files that name their system and its sizes.

What `upframe.weights.checkpoints.read_checkpoint` reads of them beside the weights::

    format  pt
    system  name of the system, where the weights do not determine it
    config  the arguments that made it, as JSON
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from upframe.errors import OutputError, WeightsError


def save_weights(
    path: Path,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    system: str | None = None,
    half: bool = False,
) -> None:
    """Write a safetensors file of ours; it is there as a whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        state: weights by name.
        config: arguments of the system; JSON must know all of it.
        system: its name, for systems that declare themselves.
        half: whether floating-point weights are rounded to float16.

    Raises:
        WeightsError: a weight leaves the range of float16.
        OutputError: the file cannot be written.
    """
    about = {"format": "pt", "config": json.dumps(config)}
    if system is not None:
        about["system"] = system
    written = {name: value.contiguous() for name, value in state.items()}
    if half:
        written = {name: _halved(name, value) for name, value in written.items()}
    draft = path.with_name(f"{path.name}.part")
    try:
        save_file(written, draft, about)
        draft.chmod(0o644)  # safetensors leaves it to the owner alone
        draft.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{path} cannot be written: {error}.", "Check the folder and the disk."
        ) from error


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    rounded = value.half()
    if not bool(torch.isfinite(rounded).all()):
        raise WeightsError(
            f"The weight {name} leaves the range of float16.",
            "Save the weights in float32.",
        )
    return rounded
