"""What a run keeps of the unfinished one that it continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upframe.engine.store import folder_of, read_records
from upframe.runtimes.choice import Fallback


@dataclass(frozen=True)
class Unfinished:
    """Read from the work folder before the plan is made."""

    chunk_length: int
    tile: tuple[int, int]
    """Width and height."""
    fallbacks: tuple[Fallback, ...]
    """What its runtime had fallen back to."""


def peek(output: Path, fingerprint: Mapping[str, Any]) -> Unfinished | None:
    """Look at the unfinished run of an output, without touching it.

    Returns:
        None where there is none, or one that was made from other input or options.
    """
    folder = folder_of(output)
    try:
        plan = json.loads((folder / "plan.json").read_text())
        if plan["fingerprint"] != json.loads(json.dumps(dict(fingerprint))):
            return None
        settings = plan["settings"]
        width, height = map(int, settings["tile"])
        length = int(settings["chunk_length"])
        records = read_records(folder)
        fallbacks = [
            Fallback.from_json(values) for one in records for values in one.fallbacks
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Unfinished(length, (width, height), tuple(dict.fromkeys(fallbacks)))
