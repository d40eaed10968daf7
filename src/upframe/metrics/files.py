"""Where the weights of the metrics lie; they are third parties' and do not ship."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from upframe.errors import WeightsError

LPIPS_FILE = "lpips_alexnet_features_and_lins.safetensors"
"""``features.*`` of AlexNet and ``lin*`` of LPIPS."""
DISTS_FILE = "dists_vgg16_features_and_weights.safetensors"
"""``features.*`` of VGG16, ``alpha`` and ``beta``."""
VARIABLE = "UPFRAME_METRIC_WEIGHTS"
"""Environment variable with the folder of the files."""
DATA = "UPFRAME_DATA"
"""Environment variable with the folder of the data sets."""


def data_folder() -> Path:
    """Folder of data sets: ``UPFRAME_DATA``, or ``data`` in the working directory."""
    return Path(os.environ.get(DATA) or "data").expanduser()


def _user_folder() -> Path:
    """The user's folder; imported late, so that a path works without the package."""
    from platformdirs import user_data_path

    return user_data_path("upframe", appauthor=False) / "metrics"


def folders() -> list[Path]:
    """Where a file is looked for when no path is given, in this order."""
    named = os.environ.get(VARIABLE)
    places = [Path(named).expanduser()] if named else []
    return [*places, _user_folder(), data_folder() / "metrics"]


def find_file(name: str, what: str, path: Path | str | None = None) -> Path:
    """The file of a metric.

    Args:
        name: of the file.
        what: the metric, for the message.
        path: the file itself, or a folder that holds it; None to look in the folder
            that ``UPFRAME_METRIC_WEIGHTS`` names, ``metrics`` of the user's data folder
            for upframe, and ``metrics`` of the folder of data sets.

    Raises:
        WeightsError: it is nowhere.
    """
    places = folders() if path is None else [Path(path).expanduser()]
    for place in places:
        file = place / name if place.is_dir() else place
        if file.is_file() and (path is not None or file.name == name):
            return file
    if path is None:
        advice = f"Put {name} into {_user_folder()}, or name its folder in {VARIABLE}; "
        advice += "docs/metrics.md names its source."
    else:
        advice = f"Name the file {name} or the folder that holds it."
    raise WeightsError(
        f"The weights of {what} are not in {' or '.join(map(str, places))}.",
        advice,
    )


def fingerprint(path: Path) -> str:
    """File name and the first 8 hex digits of its SHA-256, for the printed protocol."""
    return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
