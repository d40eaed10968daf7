"""Sphinx: Markdown by MyST, the API from docstrings. ``make docs`` builds it."""

import os
import re
from pathlib import Path

from upframe._version import __version__

project = "upframe"
author = "The upframe developers"
copyright = "The upframe developers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"upframe {release}"
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "toc.not_included"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True}
napoleon_use_ivar = True

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
ELSEWHERE = {
    "benchmarks": ROOT / "benchmarks/README.md",
    "changelog": ROOT / "CHANGELOG.md",
    "contributing": ROOT / "CONTRIBUTING.md",
    "credits": ROOT / "src/upframe/weights/CREDITS.md",
    "examples": ROOT / "examples/README.md",
}
"""Pages whose text lies elsewhere in the repository."""


def _take_from_elsewhere(_app: object, page: str, source: list[str]) -> None:
    """Replace a page by its text from elsewhere, and make all links lead to pages."""
    here = (DOCS / page).parent
    origin = ELSEWHERE.get(page)
    text = source[0] if origin is None else origin.read_text(encoding="utf-8")
    start = here if origin is None else origin.parent
    homes = {path: DOCS / f"{name}.md" for name, path in ELSEWHERE.items()}

    def moved(link: re.Match[str]) -> str:
        path = (start / link[1]).resolve()
        target = os.path.relpath(homes.get(path, path), here)
        if path not in homes and not path.is_relative_to(DOCS):
            return f"](path:{target})"  # a file to download
        return f"]({target}{link[2] or ''})"

    source[0] = re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)", moved, text)


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _take_from_elsewhere)  # type: ignore[attr-defined]
