"""Where the files that recipes name are on this machine: data sets and weights.

Recipes hold no paths of one machine. ``$DATA/...`` is inside the folder of data sets;
a name without a folder or suffix, such as ``mia-vsr-s``, means weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from upframe.metrics.files import data_folder
from upframe.weights.index import FILES

_DATA = "$DATA"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_CHECKPOINT = "{}/last.ckpt"
_STAGES = {
    "autoencoder": _CHECKPOINT,
    "classifier": _CHECKPOINT,
    "estimator": _CHECKPOINT,
    "memory": "{}.safetensors",
    "prior": _CHECKPOINT,
    "restoration": _CHECKPOINT,
    "teacher": _CHECKPOINT,
}
"""Arguments of systems that are made by an earlier stage, and the file among the runs
that it writes; ``upframe textures`` writes the memory."""


def settle(tree: dict[str, Any], recipe: Path, data: Path | None) -> None:
    """Replace the places of a recipe by paths.

    Args:
        tree: the settings as read from the file; is changed.
        recipe: path of the file; ``checkpoints`` beside it is looked into.
        data: folder of the data sets; None takes ``UPFRAME_DATA``, or the folder
            ``data`` of the working directory.
    """
    root = data or data_folder()
    _replace(tree, lambda text: _in_data(text, root))
    runs = Path(str(tree.get("runs", "runs")))

    def found(holder: Any, key: str, made: str = _CHECKPOINT) -> None:
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            holder[key] = str(find_weights(holder[key], runs, recipe.parent, made))

    found(tree, "init")
    system = tree.get("system")
    if isinstance(system, dict):
        found(system, "flow")
        for key, made in _STAGES.items():
            found(system.get("args"), key, made)


def find_weights(name: str, runs: Path, recipes: Path, made: str = _CHECKPOINT) -> Path:
    """The weights that a recipe starts from.

    Args:
        name: ``mia-vsr-s``; anything that does not look so is a path already.
        runs: folder of the runs.
        recipes: folder of the recipe.
        made: file among the runs that an earlier stage writes.

    Returns:
        The first that exists: that file, one of this name in ``checkpoints`` beside the
        recipe, a bundled model. If none does, where the earlier stage will write it.
    """
    if not _NAME.fullmatch(name):
        return Path(name)
    places = (
        runs / made.format(name),
        recipes / "checkpoints" / f"{name}.ckpt",
        recipes / "checkpoints" / f"{name}.safetensors",
        FILES / f"{name}.safetensors",
    )
    return next((path for path in places if path.is_file()), places[0])


def _in_data(text: str, root: Path) -> str:
    if text == _DATA or text.startswith(f"{_DATA}/"):
        return str(root / text[len(_DATA) + 1 :])
    return text


def _replace(tree: Any, change: Callable[[str], str]) -> None:
    """Apply ``change`` to every text inside lists and mappings."""
    places = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(places):
        if isinstance(value, str):
            tree[key] = change(value)
        elif isinstance(value, dict | list):
            _replace(value, change)
