"""Training from a checkout with few packages, and with caches in place of data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upframe.errors import InputError
from upframe.training.caches import open_caches
from upframe.training.command import run
from upframe.training.recipe import Recipe

SOURCE = Path(__file__).parents[2] / "src"

BARE = """
import runpy, sys

for name in (
    "av", "typer", "rich", "click", "onnxruntime", "platformdirs", "tensorboard"
):
    sys.modules[name] = None  # as if it were not installed

for arguments in map(str.split, sys.argv[1:]):
    sys.argv = ["training", *arguments]
    try:
        runpy.run_module("upframe.training", run_name="__main__")
    except SystemExit as stop:
        print("code", stop.code, file=sys.stderr)
"""


def test_without_most_packages(
    tree: dict[str, Any], tmp_path: Path, clip: Callable[..., Path]
) -> None:
    tree["optimiser"]["steps"] = 2
    (tmp_path / "videos").mkdir()
    clip("videos/one.mp4", frames=4)
    paths = {}
    for name, changes in (
        ("pictures", {}),
        ("clips", {"frames": 2, "videos": tmp_path / "videos", "video_share": 1}),
    ):
        recipe = Recipe.model_validate(
            tree | {"name": name, "data": tree["data"] | changes}
        )
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(recipe.model_dump_json())
    # with the data, pictures train and videos cannot be decoded; where another machine
    # has built the caches, they train too, and no data is needed
    stills, clips = _bare(str(paths["pictures"]), str(paths["clips"]))
    assert "finished at step 2" in stills
    assert stills.endswith("code 0")
    assert "without PyAV" in clips
    assert "--prepare" in clips
    assert clips.endswith("code 1")
    prepared = subprocess.run(
        [sys.executable, "-m", "upframe", "train", str(paths["clips"]), "--prepare"],
        capture_output=True,
        text=True,
    )
    assert "2 images and 1 clips are ready" in prepared.stderr
    assert not (tmp_path / "runs" / "clips").exists()
    for folder in ("videos", "pictures"):
        shutil.rmtree(tmp_path / folder)
    (carried,) = _bare(str(paths["clips"]))
    assert "finished at step 2" in carried
    assert carried.endswith("code 0")


def _bare(*runs: str) -> list[str]:
    """What each of the command lines says, in a process with few packages."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, *runs],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [part.strip() for part in re.findall(r"(?s).*?\ncode \d\n", done.stderr)]


def test_changed_data_makes_a_new_cache(tree: dict[str, Any]) -> None:
    data = Recipe.model_validate(tree).data
    first, _ = open_caches(data, 4)
    (data.train / "1.png").unlink()
    second, _ = open_caches(data, 4)
    assert (len(first.pairs), len(second.pairs)) == (2, 1)
    shutil.rmtree(data.train)
    again, _ = open_caches(data, 4)
    assert len(again.pairs) == 1
    with pytest.raises(InputError, match="--prepare"):
        open_caches(data, 2)  # of another scale there is none


def test_caches_of_several_folders_are_carried(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    folders = [tree["data"]["train"], tmp_path / "more"]
    shutil.copytree(*folders)
    tree["data"]["train"] = folders
    data = Recipe.model_validate(tree).data
    assert len(open_caches(data, 4)[0].pairs) == 4
    shutil.rmtree(folders[1])
    assert len(open_caches(data, 4)[0].pairs) == 4


def test_a_cache_of_random_degradations_stays_random(tree: dict[str, Any]) -> None:
    tree["data"]["degradation"] = {"name": "real"}
    data = Recipe.model_validate(tree).data
    here, _ = open_caches(data, 4)
    shutil.rmtree(data.train)
    there, _ = open_caches(data, 4)
    for seed in range(2):
        a, b = (c.sample(np.random.default_rng(seed), 1, 8)[0] for c in (here, there))
        assert np.array_equal(a, b)


def test_the_command_says_where_the_caches_are(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(Recipe.model_validate(tree).model_dump_json())
    said: list[str] = []
    folder = run(
        path,
        settings=(),
        resume=None,
        minutes=None,
        threads=None,
        prepare=True,
        say=said.append,
    )
    assert said == [f"tiny: 2 images are ready in {folder}"]
    noted = json.loads((folder / "prepared.json").read_text())
    assert [(folder / name / "index.json").is_file() for name in noted.values()] == [
        True
    ]
