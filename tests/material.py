"""Reference material beside the checkout, which is not part of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def reference(name: str) -> Path:
    """A file or folder of reference material; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs the reference material {path}")
    return path
