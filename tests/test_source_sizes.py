"""Functions and modules stay small."""

from __future__ import annotations

import runpy
from pathlib import Path

SIZES = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "sizes.py"))


def test_nothing_grows_too_large() -> None:
    assert SIZES["faults"](SIZES["all_sizes"]()) == []


def test_large_functions_and_modules_are_named() -> None:
    found = {"a.py": 401, "b.py": 400, "b.py:f": 61, "b.py:C.g": 60}
    assert SIZES["faults"](found) == [
        "a.py has 401 lines, more than 400: split it.",
        "b.py:f has 61 lines, more than 60: split it.",
    ]
