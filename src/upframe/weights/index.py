"""The models that ship with upframe, and which one a preset means. Never torch."""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from upframe.errors import UsageError, WeightsError
from upframe.weights.card import ModelCard

FILES = Path(__file__).parent / "files"
"""Folder of the cards and weight files that ship."""
CREDITS = Path(__file__).parent / "CREDITS.md"
"""The works that the bundled weights learned from, and what follows for the weights."""

PRESETS: Mapping[str, str] = {
    "fast": "mia-vsr-xs",
    "balanced": "mia-vsr-s",
    "best": "mia-vsr-m",
    "restore": "mia-vsr-s-real",
}
"""Preset to model."""

_RESAMPLING = (
    ModelCard(
        name="bicubic",
        system="resampling",
        scale=4,
        summary="MATLAB-compatible bicubic resampling, the baseline of the field",
        licence="Apache-2.0",
        overlap=4,
        bytes_per_pixel=800,
    ),
    ModelCard(
        name="lanczos",
        system="resampling",
        scale=4,
        summary="Lanczos resampling with three lobes",
        licence="Apache-2.0",
        overlap=4,
        bytes_per_pixel=800,
    ),
)


@functools.cache
def _cards() -> dict[str, ModelCard]:
    cards = {card.name: card for card in _RESAMPLING}
    for path in sorted(FILES.glob("*.json")):
        try:
            card = ModelCard.model_validate_json(path.read_bytes())
        except ValidationError as exc:
            raise WeightsError(
                f"The model card {path} is damaged.", "Install upframe again."
            ) from exc
        cards[card.name] = card
    return cards


def list_models() -> list[ModelCard]:
    """Cards of all models that can be named, in order of their names."""
    return [card for _, card in sorted(_cards().items())]


def find_card(name: str) -> ModelCard:
    """The card of a model, or of the model behind a preset.

    Raises:
        UsageError: there is no such model; the message names the nearest.
    """
    cards = _cards()
    wanted = PRESETS.get(name, name)
    if wanted not in cards:
        near = difflib.get_close_matches(name, [*cards, *PRESETS], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"There is no model {name!r}.",
            f"{hint}There are: {', '.join(sorted(cards))}.",
        )
    return cards[wanted]


@functools.cache
def _checked(path: Path, sha256: str, size: int) -> Path:
    if not path.is_file():
        raise WeightsError(f"The weight file {path} is missing.", "Install it again.")
    data = path.read_bytes()
    if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(
            f"The weight file {path} is damaged: it does not match its card.",
            "Install upframe again.",
        )
    return path


def weight_files(card: ModelCard) -> dict[str, Path]:
    """Weight files of a bundled model by format, checked against their SHA-256.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    return {
        kind: _checked(FILES / file.name, file.sha256, file.bytes)
        for kind, file in card.files.items()
    }
