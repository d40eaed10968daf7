"""Results inside pages: the part between two marks is made by a benchmark."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"


def write(folder: Path, name: str, text: str, numbers: str, page: Path | None) -> None:
    """Keep the results of a benchmark.

    Args:
        folder: gets ``NAME.md`` and ``NAME.json``.
        name: of the benchmark.
        text: Markdown.
        numbers: JSON.
        page: where the text goes, too; None for a run that is not whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(numbers, encoding="utf-8")
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"Written: {folder}/{name}.json, {name}.md")
    if page is not None:
        fill(page, name, text)
        print(f"Written: {page}")


def fill(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Args:
        page: is written anew.
        name: of the part.
        text: Markdown.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no part {name}")
    filled = f"{before}{begin}\n{text.strip()}\n\n{end}{after}"
    page.write_text(filled, encoding="utf-8")
