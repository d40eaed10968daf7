"""``upframe verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console


def verify(
    source: Annotated[str, typer.Argument(metavar="IN", help="What was upscaled.")],
    output: Annotated[
        str, typer.Argument(metavar="OUT", help="The result of any tool.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> int:
    """List what an upscaled video lost or changed; exit 1 where something is wrong."""
    from upframe.media.comparison import compare

    found = compare(Path(source), Path(output))
    if as_json:
        console.emit(found.to_dict())
    else:
        print(found.describe())
    return 0 if found.ok else 1
