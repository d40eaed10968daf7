"""Write ``docs/modules.md``: every module with the first sentence of its docstring.

python scripts/module_list.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "modules.md"


def first_sentence(path: Path) -> str:
    """Of the module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def page() -> str:
    """The whole page."""
    source = ROOT / "src" / "upframe"
    lines = [
        "# Modules",
        "",
        "<!-- made by scripts/module_list.py from the docstrings -->",
        "",
        "Every module, by room; [architecture.md](architecture.md) says how they work "
        "together.",
    ]
    rooms = sorted(p.parent for p in source.rglob("__init__.py"))
    for room in rooms:
        lines += ["", f"## `{room.relative_to(source.parent).as_posix()}/`", ""]
        for path in sorted(room.glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"- `{path.stem}`: {first_sentence(path)}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
