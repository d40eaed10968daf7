"""Fail where a function or module of ``src`` is too large.

    python scripts/sizes.py

Functions have at most 60 lines, modules at most 400. ``KNOWN`` lists those that were
larger when the check came, with their size then: they may shrink, and leave the list.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
FUNCTION, MODULE = 60, 400
KNOWN = {
    "upframe/evaluation/scoring.py:Scoring.__init__": 72,
    "upframe/systems/liftvsr/model.py": 426,
    "upframe/systems/ultravsr/backbones.py:unet_stages": 69,
}


def sizes(path: Path) -> dict[str, int]:
    """Lines of a module, and of its functions by their name."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(SOURCE).as_posix()
    found = {name: len(text.splitlines())}

    def walk(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            here = inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                here = f"{inside}.{child.name}" if inside else child.name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                assert child.end_lineno is not None
                found[f"{name}:{here}"] = child.end_lineno - child.lineno + 1
            walk(child, here)

    walk(ast.parse(text), "")
    return found


def limit(name: str) -> int:
    """The most lines of a module or function."""
    return max(KNOWN.get(name, 0), FUNCTION if ":" in name else MODULE)


def faults(found: dict[str, int]) -> list[str]:
    """What is too large."""
    return [
        f"{name} has {size} lines, more than {limit(name)}: split it."
        for name, size in found.items()
        if size > limit(name)
    ]


def done(found: dict[str, int]) -> list[str]:
    """What need not be in ``KNOWN`` any more."""
    return [
        f"{name} is small or gone: take it out of KNOWN."
        for name in KNOWN
        if found.get(name, 0) <= (FUNCTION if ":" in name else MODULE)
    ]


def all_sizes() -> dict[str, int]:
    """Lines of all modules and functions."""
    found: dict[str, int] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        found |= sizes(path)
    return found


def main() -> int:
    """Print the faults; 1 where there are some."""
    found = all_sizes()
    wrong = faults(found)
    print(*wrong, *done(found), f"{len(found)} modules and functions", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
