"""Links of all Markdown files of the repository lead somewhere, anchors too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:  # an archive without its history
        return sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
    # changes/ holds lines of the changelog, whose links begin at its place
    lines = listed.stdout.splitlines()
    return [ROOT / line for line in lines if not line.startswith("changes/")]


def _links(text: str) -> list[tuple[str, str]]:
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    found = re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", text)
    return [(target, anchor) for target, anchor in found if target or anchor]


def _anchors(text: str) -> set[str]:
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("file", _files(), ids=lambda f: str(f.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    for target, anchor in _links(file.read_text(encoding="utf-8")):
        path = (file.parent / target).resolve() if target else file
        assert path.exists(), target
        assert path.is_relative_to(ROOT), f"{target} is not part of the repository"
        if anchor:
            assert anchor in _anchors(path.read_text(encoding="utf-8")), anchor
