"""The caches of a recipe's data, which may be carried to a machine without the data.

``prepared.json`` beside the caches says which of them belong to which settings. It is
asked only where the data itself is missing, so changed data always makes a new cache.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upframe.datasets.clips import ClipCache
from upframe.datasets.pairs import PairCache
from upframe.degradations.registry import RandomConfig
from upframe.errors import InputError
from upframe.training.recipe import DataConfig, Folders

_LIST = "prepared.json"
_ADVICE = (
    "Name the folder of the data sets with --data or UPFRAME_DATA (docs/datasets.md). "
    "Or build the caches where the data is, with: upframe train RECIPE --prepare, and "
    "bring the folder data.cache along."
)


def _names(folders: Folders) -> str:
    return "+".join(path.name for path in _each(folders))


def _paths(folders: Folders) -> str:
    return ", ".join(str(path) for path in _each(folders))


def _here(folders: Folders) -> bool:
    return all(path.exists() for path in _each(folders))


def _each(folders: Folders) -> Sequence[Path]:
    return (folders,) if isinstance(folders, Path) else folders


def _pairs_key(data: DataConfig, scale: int) -> str:
    fresh = isinstance(data.degradation, RandomConfig)
    kept = "bi" if fresh else data.degradation.name
    return f"{_names(data.train)} x{scale} {kept}, sides of {data.patch} and more"


def _note(cache: Path, key: str, folder: Path) -> None:
    """Remember which cache belongs to a key."""
    path = cache / _LIST
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if known.get(key) == folder.name:
        return
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(known | {key: folder.name}, indent=1) + "\n")
    draft.replace(path)


def _prepared(cache: Path, key: str, data: Folders) -> Path:
    """The folder of a cache whose data is not here.

    Raises:
        InputError: if it was not built.
    """
    path = cache / _LIST
    known = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        raise InputError(
            f"Neither {_paths(data)} is here nor a cache of it in {cache}.", _ADVICE
        )
    return cache / str(known[key])


def open_caches(data: DataConfig, scale: int) -> tuple[PairCache, ClipCache | None]:
    """Open what a recipe learns from, building it where it is missing.

    Args:
        data: of the recipe.
        scale: output size over input size.

    Returns:
        The images, and the videos if the recipe has some.

    Raises:
        InputError: if the data is missing, empty or cannot be read and there is no
            cache of it, or if videos are to be decoded without PyAV.
    """
    key = _pairs_key(data, scale)
    if _here(data.train):
        pairs = PairCache.build(
            data.train, data.cache, scale, data.patch, data.degradation
        )
        _note(data.cache, key, pairs.folder)
    else:
        chosen = data.degradation
        fresh = chosen if isinstance(chosen, RandomConfig) else None
        pairs = PairCache(_prepared(data.cache, key, data.train), fresh)
    if data.videos is None:
        return pairs, None
    key = f"{_names(data.videos)} as clips"
    if not _here(data.videos):
        return pairs, ClipCache(_prepared(data.cache, key, data.videos))
    try:
        clips = ClipCache.build(data.videos, data.cache)
    except ImportError as error:
        raise InputError(
            f"The videos in {_names(data.videos)} cannot be decoded without PyAV.",
            f"Install it (pip install av). {_ADVICE}",
        ) from error
    _note(data.cache, key, clips.folder)
    return pairs, clips
