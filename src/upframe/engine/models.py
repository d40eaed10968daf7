"""From what a user names to a card and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from upframe.engine.fingerprints import sha256_of
from upframe.errors import MissingExtraError, UsageError
from upframe.weights.card import ModelCard
from upframe.weights.index import PRESETS, find_card, list_models, weight_files


@dataclass(frozen=True)
class Model:
    """A model that can be opened."""

    card: ModelCard
    files: Mapping[str, Path]
    """Weight files by format, ``onnx``, ``safetensors``, ``pth``, or ``folder``."""
    digest: str
    """SHA-256 of what decides the result; the name for models without weights."""


def resolve_model(preset: str, model: str | Path | None) -> Model:
    """The model that a preset, a name or a weight file means.

    Raises:
        UsageError: there is no such preset, model or file.
        WeightsError: the file is no model that upframe knows.
        MissingExtraError: a weight file needs torch and it is not installed.
    """
    model = None if model is None else str(model)
    name = model or preset
    if model is not None and _is_path(model):
        return _from_file(Path(model))
    if model is None and preset not in PRESETS:
        raise UsageError(
            f"There is no preset {preset!r}.", f"Use {', '.join(PRESETS)}."
        )
    card = find_card(name)
    files = weight_files(card)
    digests = [card.files[key].sha256 for key in sorted(card.files)]
    return Model(card, files, "".join(digests)[:128] or card.name)


def _is_path(name: str) -> bool:
    """Whether it is a path and not the name of a model or preset."""
    path = Path(name)
    if path.suffix in (".pth", ".safetensors", ".pt", ".ckpt"):
        return True
    known = (*PRESETS, *(card.name for card in list_models()))
    return name not in known and path.is_dir()


def _from_file(path: Path) -> Model:
    if not path.exists():
        raise UsageError(f"The weight file {path} does not exist.", "Check its name.")
    try:
        from upframe.weights.loading import describe_file
    except ImportError as exc:
        raise MissingExtraError(f"Loading {path}", "torch") from exc
    card = describe_file(path)
    if path.is_dir():
        from upframe.weights.folders import folder_sha256

        return Model(card, {"folder": path}, folder_sha256(path))
    return Model(card, {path.suffix.lstrip("."): path}, sha256_of(path))
