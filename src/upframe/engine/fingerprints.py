"""Fingerprints: what tells one input, file or run from another."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upframe.errors import ResumeError


def fingerprint_file(path: Path) -> dict[str, Any]:
    """What distinguishes one input from another: size, mtime, ends of the content."""
    stat = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
        if stat.st_size > 2 << 20:
            file.seek(-(1 << 20), os.SEEK_END)
            digest.update(file.read())
    return {
        "bytes": stat.st_size,
        "changed": stat.st_mtime_ns,
        "ends": digest.hexdigest(),
    }


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def refuse_other(
    output: Path, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Refuse to continue an unfinished run whose fingerprint is another one.

    Args:
        output: what the run makes, for the message.
        before: fingerprint of the unfinished run.
        after: of this one.

    Raises:
        ResumeError: they differ; the message says in what.
    """
    version = before.get("upframe")
    if version != after.get("upframe"):
        raise ResumeError(
            f"upframe {version} began the unfinished run of {output}.",
            f"Finish it (pip install upframe=={version}), or add --fresh.",
        )
    keys = [k for k in sorted({*before, *after}) if before.get(k) != after.get(k)]
    if keys:
        what = "; ".join(_difference(k, before.get(k), after.get(k)) for k in keys)
        changed = {"input", "weights"} & set(keys)
        raise ResumeError(
            f"An unfinished run of {output} was started otherwise: {what}.",
            "Add --fresh to start over."
            if changed
            else "Repeat that command to continue it, or add --fresh to start over.",
        )


def _difference(key: str, before: Any, after: Any) -> str:
    """One difference between two fingerprints, for people."""
    if key in ("input", "weights", "encoder options"):
        return f"the {key} changed"
    return f"{key} was {_short(before)}, now {_short(after)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
