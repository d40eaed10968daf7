"""Write ``recipes/recipe.schema.json`` and ``docs/recipes.md`` from the recipe's types.

    python scripts/recipe_reference.py

Types, defaults, limits and the texts below the fields are those of
``upframe.training.recipe``; a test says when this has to be run again.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from upframe.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "recipes" / "recipe.schema.json"
PAGE = ROOT / "docs" / "recipes.md"

# Heading and class of each table, from the outside in.
SECTIONS = (
    ("The recipe", "Recipe"),
    ("system", "SystemConfig"),
    ("data", "DataConfig"),
    ("data.motion", "MotionConfig"),
    ("optimiser", "OptimiserConfig"),
    ("optimiser.loss: charbonnier, l1", "PixelLoss"),
    ("optimiser.loss: lpips", "LPIPSLoss"),
    ("optimiser.loss: perceptual", "PerceptualLoss"),
    ("optimiser.loss: gan", "GANLoss"),
)
LIMITS = (
    ("minimum", "≥"),
    ("exclusiveMinimum", ">"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "<"),
)
NAMES = {"string": "text", "boolean": "true or false", "object": "settings"}


def schema() -> str:
    """The schema as it is in the file."""
    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by scripts/recipe_reference.py.",
        **Recipe.model_json_schema(),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def kind(field: dict[str, Any]) -> str:
    """What a field takes, in a few words."""
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [kind(choice) for choice in field[several]]
            return " or ".join(k.replace("null", "`null`") for k in kinds)
    if field["type"] == "array":
        if "prefixItems" in field:
            return " and ".join(kind(item) for item in field["prefixItems"])
        return f"list of {kind(field['items'])}"
    name = "path" if field.get("format") == "path" else field["type"]
    limits = [f"{sign} {field[key]}" for key, sign in LIMITS if key in field]
    return " ".join([NAMES.get(name, name), *limits])


def cell(text: str) -> str:
    """Markdown for a cell of a table."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    return text.replace("|", r"\|")


def table(content: dict[str, Any], classes: dict[str, Any]) -> list[str]:
    """The fields of a class; those without a text have that of their own class."""
    lines = [
        "| setting | takes | default | what it does |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in content["properties"].items():
        default = "required"
        if name not in content.get("required", ()):
            default = "see there"
            if "default" in field:
                default = f"`{json.dumps(field['default'])}`"
        text = field.get("description", "")
        if not text and "$ref" in field:
            text = classes[field["$ref"].rpartition("/")[2]]["description"]
        lines.append(f"| `{name}` | {kind(field)} | {cell(default)} | {cell(text)} |")
    return lines


def page() -> str:
    """The reference as it is in the file."""
    whole = Recipe.model_json_schema()
    classes = {**whole["$defs"], "Recipe": whole}
    lines = [
        "# Settings of recipes",
        "",
        "<!-- Made by scripts/recipe_reference.py from src/upframe/training/recipe.py;",
        "change that and run it. -->",
        "",
        "[training.md](training.md) says how to train. Editors that know JSON Schema "
        "complete and check recipes that begin with",
        "`# yaml-language-server: $schema=recipe.schema.json`.",
        "`--set data.batch=8` on the command line replaces a setting. Unknown settings "
        "are refused.",
    ]
    for heading, name in SECTIONS:
        text = cell(classes[name]["description"])
        lines += ["", f"## {heading}", "", f"`{name}`: {text}", ""]
        lines += table(classes[name], classes)
    lines += [
        "",
        "The settings of `data.degradation` are in [degradations.md](degradations.md).",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    SCHEMA.write_text(schema(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
