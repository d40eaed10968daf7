"""Move the lines of ``changes/*.md`` into ``CHANGELOG.md``, grouped by kind.

    python scripts/changelog.py 0.2.0 2026-11-28

A line that begins with ``Added:``, ``Changed:``, ``Fixed:`` or ``Removed:`` goes below
that heading; one without goes below Changed. The files are removed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("Added", "Changed", "Fixed", "Removed")


def bullets(text: str) -> list[str]:
    """The list items of a file, each as one line."""
    items = re.split(r"^- ", text, flags=re.M)[1:]
    return [" ".join(item.split()) for item in items]


def section(version: str, day: str, texts: list[str]) -> str:
    """The part of the changelog for a version."""
    groups: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for item in (item for text in texts for item in bullets(text)):
        kind, colon, rest = item.partition(": ")
        if colon and kind in groups:
            groups[kind].append(rest[0].upper() + rest[1:])
        else:
            groups["Changed"].append(item)
    lines = [f"## {version} ({day})", ""]
    for kind, items in groups.items():
        if items:
            lines += [f"### {kind}", "", *(f"- {item}" for item in items), ""]
    return "\n".join(lines)


def main() -> None:
    files = sorted((ROOT / "changes").glob("*.md"))
    new = section(*sys.argv[1:3], [f.read_text(encoding="utf-8") for f in files])
    page = ROOT / "CHANGELOG.md"
    head, _, rest = page.read_text(encoding="utf-8").partition("\n## ")
    page.write_text(f"{head}\n{new}\n## {rest}", encoding="utf-8")
    for file in files:
        file.unlink()


if __name__ == "__main__":
    main()
