"""``python -m upframe.training RECIPE.yaml``: ``upframe train`` with few packages.

Needs torch, NumPy, Pillow, PyYAML, safetensors and pydantic; not PyAV, ONNX Runtime,
typer or an installed upframe, so it runs from a checkout with ``PYTHONPATH=src``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from upframe.errors import UpframeError
from upframe.training.command import run


def main() -> int:
    """Parse, train, print; returns the exit code of ``upframe train``."""
    parser = argparse.ArgumentParser(
        prog="python -m upframe.training", description="Train a model from a recipe."
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yaml")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--resume", metavar="auto|PATH")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--prepare", action="store_true")
    given = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        result = run(
            given.recipe,
            settings=given.set,
            data=given.data,
            resume=given.resume,
            minutes=given.minutes,
            threads=given.threads,
            prepare=given.prepare,
            say=say,
        )
    except UpframeError as error:
        say(f"upframe: {error}".replace("\n", " "))
        return error.exit_code
    print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
