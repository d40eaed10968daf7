"""Texture memories of PatchScaler from folders of good images.

Importing this module needs the extra ``[diffusion]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upframe.datasets.textures import texture_crops
from upframe.errors import UsageError
from upframe.systems.diffusion.latents import encode
from upframe.systems.patchscaler.model import PatchScaler
from upframe.systems.patchscaler.texture_memory import (
    TextureClassifier,
    TextureMemory,
    build_memory,
)
from upframe.systems.patchscaler.training import read_classifier
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.loading import load
from upframe.weights.saving import save_weights


def make_textures(
    model: str,
    folders: list[Path],
    *,
    capacity: int = 128,
    most: int = 16,
    progress: Callable[[str], None] | None = None,
) -> TextureMemory:
    """Choose the textures that differ most from those of some images.

    Args:
        model: name or weight file of a PatchScaler, or a checkpoint of the recipe that
            trains its texture classifier.
        folders: with good images directly inside, larger than a patch.
        capacity: textures to keep at most.
        most: candidates of each image, the most textured.
        progress: gets a line now and then.

    Returns:
        A memory for this model alone.

    Raises:
        UsageError: the model is no PatchScaler, or a number makes no sense.
        InputError: there are no images, or one is damaged.
        WeightsError: the model cannot be read.
    """
    if capacity < 1 or most < 1:
        raise UsageError(
            f"{most} textures of each image for a memory of {capacity} are none.",
            "Give at least 1 of each.",
        )
    vae, classifier, patch = _parts(model)
    size = patch * vae.config.factor

    def latents() -> Iterator[Tensor]:
        crops = texture_crops(folders, size, most)
        for number, squares in enumerate(crops, 1):
            if progress is not None and number % 100 == 0:
                progress(f"{number} images")
            yield encode(vae, torch.from_numpy(squares))

    return build_memory(latents(), classifier, capacity)


def save_with(model: str, memory: TextureMemory, path: Path) -> None:
    """Write a weight file of a model that has another memory.

    Args:
        model: name or weight file of a PatchScaler.
        memory: made for it.
        path: the file, which `upframe.load` and ``--model`` take; float16.

    Raises:
        UsageError: the model is no PatchScaler.
        WeightsError: the model cannot be read, or the memory is of another.
        OutputError: the file cannot be written.
    """
    system = _system(model)
    system.set_memory(memory)
    config = system.configuration()
    save_weights(path, system.state_dict(), config, system="patchscaler", half=True)


def _parts(model: str) -> tuple[Any, TextureClassifier, int]:
    """Autoencoder, classifier, and side of a patch in latents."""
    path = Path(model)
    if path.is_file() and _is_stage(path):
        stage = read_classifier(path)
        return stage.vae, stage.classifier, stage.patch
    system = _system(model)
    return system.vae, system.classifier, system.config.patch


def _system(model: str) -> PatchScaler:
    system = load(model)
    if not isinstance(system, PatchScaler):
        raise UsageError(
            f"{model} is no PatchScaler; other systems have no texture memory.",
            "Name a PatchScaler, or a checkpoint of its texture classifier.",
        )
    return system


def _is_stage(path: Path) -> bool:
    names = read_checkpoint(path).state
    return "classifier.body.0.weight" in names and "no_prompt" not in names
