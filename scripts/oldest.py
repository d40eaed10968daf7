"""Print the oldest dependencies that pyproject.toml allows, for pip.

pip install $(python scripts/oldest.py) .
pip install $(python scripts/oldest.py train export) '.[train,export]'
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def oldest(extras: list[str]) -> list[str]:
    """``name==version.*`` for each lower bound of the core and of some extras."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pins = {}
    for requirement in wanted:
        inner = re.fullmatch(r"upframe\[(.*)\]", requirement)
        if inner:
            pins |= dict(p.split("==") for p in oldest(inner[1].split(",")))
        else:
            name, version = requirement.split(">=")
            pins[name] = f"{version}.*"
    return [f"{name}=={version}" for name, version in pins.items()]


if __name__ == "__main__":
    print(*oldest(sys.argv[1:]))
