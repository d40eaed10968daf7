"""Recipes are strict and say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from upframe.degradations.ranges import RealConfig
from upframe.errors import UsageError, WeightsError
from upframe.training.networks import build_network
from upframe.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    runs = [Path(x) for x in recipe.system.args.values() if str(x).startswith("runs/")]
    if all(file.is_file() for file in runs):
        build_network(recipe.system)
        return
    # a later stage: what it stands on is made by recipes that are there, too
    with pytest.raises(WeightsError, match="does not exist"):
        build_network(recipe.system)
    made = [file for file in runs if file.name == "last.ckpt"]
    assert made
    assert all((path.parent / f"{x.parent.name}.yaml").is_file() for x in made)


def test_overrides() -> None:
    recipe = load_recipe(
        RECIPES / "ditn-s.yaml", ("optimiser.lr=5e-4", "data.batch=2", "seed=9")
    )
    assert (recipe.optimiser.lr, recipe.data.batch, recipe.seed) == (5e-4, 2, 9)


def test_degradations_by_name() -> None:
    path = RECIPES / "ditn-s.yaml"
    assert load_recipe(path).data.degradation.name == "bi"
    chosen = load_recipe(path, ("data.degradation={name: real, temporal: walk}",))
    assert chosen.data.degradation == RealConfig(temporal="walk")
    again = Recipe.model_validate_json(chosen.model_dump_json())
    assert again == chosen


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimiser.rate=1", "optimiser.rate"),
        ("data.batch=0", "data.batch"),
        ("data.batch", "no '='"),
        ("seed.more=1", "no further settings"),
        ("system.name=ditto", "system.name"),
        ("data.progressive={consistent_until: 1, full_from: 2}", "progressive is for"),
        ("data.degradation={name: rain}", "data.degradation"),
        ("data.degradation={name: bi, sigma: 1}", "data.degradation.*sigma"),
    ],
)
def test_faults_are_named(override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_recipe(RECIPES / "ditn-s.yaml", (override,))


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(UsageError, match="no valid YAML"):
        load_recipe(broken)
