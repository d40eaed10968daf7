"""Every work that the bundled weights learned from is credited."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

from e2e_support import run
from material import reference
from upframe.weights.index import CREDITS, list_models

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "credits.py"


def test_the_page_is_that_of_the_manifests() -> None:
    manifests = [
        reference(f"data/{pack}/manifest.csv")
        for pack in ("train_pack", "train_pack_2")
    ]
    wanted = runpy.run_path(str(SCRIPT))["page"](manifests)
    assert CREDITS.read_text(encoding="utf-8") == wanted, "run scripts/credits.py"


def test_authors_come_from_names_of_files(tmp_path: Path) -> None:
    rows = [
        ("them/photos@1:a/Bridge_by_Ann_Lee.jpg", "CC BY-SA 4.0"),
        ("them/photos@1:b/jo-van-dyk-shoE2y51uX0-unsplash.jpg", "CC BY-SA 4.0"),
        ("them/clips@2:c/bear[0:32]", "CC BY 4.0 (DAVIS)"),
        ("them/clips@2:d.mp4", "MIT"),
    ]
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("source", "licence"), *rows])
    page = runpy.run_path(str(SCRIPT))["page"]([manifest])
    assert "these 4 photographs" in page
    for line in (
        "- Ann Lee: `a/Bridge_by_Ann_Lee.jpg`",
        "- Jo Van Dyk: `b/jo-van-dyk-shoE2y51uX0-unsplash.jpg`",
        "- F. Perazzi, J. Pont-Tuset and others, DAVIS: `c/bear`",
        "- as credited at the source: `d.mp4`",
        "Source: <https://github.com/them/photos>, 1.",
        "Licence: CC BY-SA 4.0.",
    ):
        assert line in page, line


def test_models_show_leads_there() -> None:
    shown = run("models", "show", "balanced")
    assert str(CREDITS) in shown.out
    assert CREDITS.is_file()
    assert "credits" not in run("models", "show", "bicubic").out
    licences = {card.licence for card in list_models()}
    assert licences == {"Apache-2.0"}  # what the page says of all weights
