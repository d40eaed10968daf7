"""The schema and the page of settings are those of the code."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from upframe.training.recipe import OptimiserConfig, Recipe

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "recipe_reference.py"))
ADVICE = "run: python scripts/recipe_reference.py"


def test_the_schema_is_up_to_date() -> None:
    file = ROOT / "recipes" / "recipe.schema.json"
    # compared as values: versions of pydantic order keys differently
    assert json.loads(file.read_text()) == json.loads(SCRIPT["schema"]()), ADVICE


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "recipes.md").read_text() == SCRIPT["page"](), ADVICE


def test_every_setting_is_on_the_page_with_a_text() -> None:
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[-2].strip()
        for line in (ROOT / "docs" / "recipes.md").read_text().splitlines()
        if line.startswith("| `")
    }
    for model in (Recipe, OptimiserConfig, *_nested(Recipe)):
        for name in model.model_fields:
            assert len(rows[name]) > 5, name


def _nested(model: type[Recipe]) -> list[type[Recipe]]:
    return [
        field.annotation
        for name, field in model.model_fields.items()
        if name in ("system", "data")
    ]
