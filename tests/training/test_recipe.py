"""Recipes are strict and say what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from upframe.degradations.ranges import RealConfig
from upframe.errors import UsageError, WeightsError
from upframe.training.networks import build_network
from upframe.training.recipe import Recipe, load_recipe

TEXTURES = "runs/textures-nano.safetensors"
"""Made by ``upframe textures``, as the head of the recipe says."""
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
    assert [x for x in runs if x not in made] in ([], [Path(TEXTURES)])


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_recipes_name_no_folder_of_one_machine(path: Path) -> None:
    text = re.sub(r"#.*", "", path.read_text())
    assert "shared" not in text
    assert "runs/" not in text


def test_the_data_folder_is_an_argument_a_variable_or_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = RECIPES / "mia-vsr-s.yaml"
    monkeypatch.delenv("UPFRAME_DATA", raising=False)
    assert load_recipe(path).data.train == Path("data/train_pack/images")
    monkeypatch.setenv("UPFRAME_DATA", "/packs")
    assert load_recipe(path).data.videos == Path("/packs/train_pack/video")
    given = load_recipe(path, ("data.val=/clips",), Path("/mine"))
    assert given.data.train == Path("/mine/train_pack/images")
    assert given.data.val == Path("/clips")
    assert load_recipe(path, ("data.val=../shared/x",)).data.val == Path("../shared/x")


def test_start_weights_by_name(tmp_path: Path) -> None:
    recipe = tmp_path / "recipes" / "next.yaml"
    recipe.parent.mkdir()
    recipe.write_text((RECIPES / "mia-vsr-m.yaml").read_text())
    runs = tmp_path / "runs"

    def init(name: str) -> Path | None:
        return load_recipe(recipe, (f"runs={runs}", f"init={name}")).init

    bundled = init("mia-vsr-s")
    assert bundled is not None
    assert bundled.name == "mia-vsr-s.safetensors"
    assert bundled.is_file()
    kept = recipe.parent / "checkpoints" / "mia-vsr-s.ckpt"
    own = runs / "mia-vsr-s" / "last.ckpt"
    for file in (kept, own):  # each goes before what was found so far
        file.parent.mkdir(parents=True)
        file.touch()
        assert init("mia-vsr-s") == file
    # a stage that was not trained yet, and paths
    assert init("oasis-nano-first") == runs / "oasis-nano-first" / "last.ckpt"
    assert init("some/file.pth") == Path("some/file.pth")
    assert init("null") is None


def test_stages_by_name() -> None:
    args = load_recipe(RECIPES / "liftvsr-nano.yaml").system.args
    kept = RECIPES / "checkpoints" / "liftvsr-nano-prior.ckpt"
    assert args["prior"] in (str(kept), "runs/liftvsr-nano-prior/last.ckpt")


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
