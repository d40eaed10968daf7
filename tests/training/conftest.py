"""A tiny recipe with generated pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from upframe.systems.registry import find_spec, registered
from upframe.systems.spec import Lazy, TrainingTask
from upframe.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks are too small to share, and the machine may be busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """Settings of a recipe that trains in a second."""
    for folder in ("pictures", "val/one", "val/two"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(2):
            y, x = np.mgrid[:96, :128] * (0.3 + 0.1 * number)
            waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)], -1) * 100 + 128
            Image.fromarray(waves.astype(np.uint8)).save(
                tmp_path / folder / f"{number}.png"
            )
    return {
        "name": "tiny",
        "system": {"name": "ditn", "args": {"dim": 8, "n_itl": 1, "n_sal": 1}},
        "data": {
            "train": tmp_path / "pictures",
            "cache": tmp_path / "cache",
            "val": tmp_path / "val",
            "val_frames": 1,
            "patch": 8,
            "batch": 4,
        },
        "optimiser": {"steps": 12, "warmup": 3, "lr": 5e-3, "ema": 0.9},
        "runs": tmp_path / "runs",
        "log_every": 4,
        "val_every": 8,
    }


@pytest.fixture
def recipe(tree: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(tree)


@pytest.fixture
def clip_tree(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same for a video model, a stand-in for the real ones."""
    tiny = TrainingTask("tiny-clips", Lazy("tiny_clips:TinyClips"), clips=True)
    tree["name"] = "tiny-clips"
    tree["system"] = {"name": "tiny-clips", "args": {}}
    tree["data"] |= {"frames": 3, "batch": 2, "val_frames": 2}
    with registered(replace(find_spec("ditn"), name="tiny", tasks=(tiny,))):
        yield tree


@pytest.fixture
def lite_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """The same for a small MIA-VSR lite with masks and an adversary."""
    tree["name"] = "tiny-lite"
    tree["system"] = {"name": "mia-vsr-lite", "args": {"dim": 8, "groups": [1]}}
    tree["data"] |= {"frames": 3, "batch": 2, "patch": 16, "val": None}
    loss = [{"name": "charbonnier"}, {"name": "gan", "channels": 4}]
    tree["optimiser"] |= {"steps": 4, "keep_weight": 0.1, "loss": loss}
    return tree


@pytest.fixture
def mia_tree(tree: dict[str, Any]) -> dict[str, Any]:
    """The same for a small MIA-VSR, where a step takes a second."""
    tree["name"] = "tiny-mia"
    tree["system"] = {
        "name": "mia-vsr",
        "args": {
            "mid_channels": 4,
            "embed_dim": 8,
            "depths": [2],
            "heads": [2],
            "drop_path": 0.5,
        },
    }
    tree["data"] |= {"frames": 2, "batch": 1, "val": None}
    tree["optimiser"] |= {"steps": 2, "keep_weight": 0.1}
    return tree
