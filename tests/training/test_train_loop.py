"""Training on a tiny recipe: it learns, resumes exactly, and survives NaN."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from upframe.datasets.pairs import PairCache
from upframe.errors import Interrupted, RuntimeFailure, UsageError
from upframe.training.loop import Trainer, learning_rate, train
from upframe.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The network is too small to share, and the machine may be busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for folder in ("pictures", "val/one", "val/two"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(2):
            y, x = np.mgrid[:96, :128] * (0.3 + 0.1 * number)
            waves = np.stack([np.sin(x), np.sin(y), np.sin(x + y)], -1) * 100 + 128
            Image.fromarray(waves.astype(np.uint8)).save(
                tmp_path / folder / f"{number}.png"
            )
    return Recipe.model_validate(
        {
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
    )


def _longer(recipe: Recipe, **changes: object) -> Recipe:
    optimiser = recipe.optimiser.model_copy(update=changes)
    return recipe.model_copy(update={"optimiser": optimiser})


def test_learns_and_logs(recipe: Recipe) -> None:
    recipe = _longer(recipe, steps=80)
    report = train(recipe)
    assert report.finished
    assert report.step == 80
    lines = [
        json.loads(line)
        for line in (recipe.folder / "log.jsonl").read_text().splitlines()
    ]
    losses = [line["loss"] for line in lines if line["event"] == "train"]
    scores = [line["psnr_y"] for line in lines if line["event"] == "val"]
    assert losses[-1] < losses[0] / 2
    assert scores[-1] > scores[0]
    assert len(scores) == 10


def test_resume_is_exact(recipe: Recipe, tmp_path: Path) -> None:
    whole = Trainer(recipe)
    pairs = PairCache.build(recipe.data.train, recipe.data.cache, 4, 8)
    for _ in range(12):
        whole.train_step(pairs)

    halves = train(recipe, resume="auto", minutes=0)
    assert not halves.finished
    assert halves.step == 1
    halves = train(recipe, resume="auto")
    assert halves.finished

    saved = torch.load(halves.checkpoint, weights_only=True)
    want = whole.network.state_dict()
    assert saved["params"].keys() == want.keys()
    for key, value in want.items():
        assert torch.equal(saved["params"][key], value), key
    for key, value in whole.averaged().items():
        assert torch.equal(saved["params_ema"][key], value), key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step(recipe: Recipe, number: int) -> None:
    def stop(line: dict[str, object]) -> None:
        if line["event"] == "train":
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="step 4"):
        train(recipe, report=stop)
    assert signal.getsignal(number) is before
    saved = torch.load(recipe.folder / "last.ckpt", weights_only=True)
    assert saved["step"] == 4


def test_a_step_without_a_finite_loss_changes_nothing(recipe: Recipe) -> None:
    trainer = Trainer(recipe)
    pairs = PairCache.build(recipe.data.train, recipe.data.cache, 4, 8)
    trainer.train_step(pairs)
    bias = trainer.network.get_parameter("sft.bias")
    with torch.no_grad():
        bias[0] = math.nan
    before = {k: v.clone() for k, v in trainer.averaged().items()}
    assert math.isnan(trainer.train_step(pairs))
    assert trainer.skipped == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.averaged().items())
    trainer.bad_in_a_row = 99
    with pytest.raises(RuntimeFailure, match="not finite"):
        trainer.train_step(pairs)


def test_does_not_overwrite_or_mix_runs(recipe: Recipe) -> None:
    train(_longer(recipe, steps=1))
    with pytest.raises(UsageError, match="--resume auto"):
        train(recipe)
    other = recipe.model_copy(update={"seed": 5})
    with pytest.raises(UsageError, match="another seed"):
        train(other, resume="auto")
    (recipe.folder / "last.ckpt").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="no checkpoint"):
        train(recipe, resume="auto")


def test_learning_rate_rises_and_falls(recipe: Recipe) -> None:
    config = recipe.optimiser.model_copy(update={"steps": 100, "warmup": 10})
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == config.lr
    assert rates[100] == config.lr_end


def test_the_command_continues_a_run(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "upframe", "train", str(path), "--threads", "1"]
    command += ["--set", "optimiser.steps=5", "--set", "data.val=null"]
    for arguments, code, words in (
        ((), 0, "finished at step 5"),
        ((), 2, "--resume auto"),
        (("--resume", "auto", "--set", "optimiser.steps=7"), 0, "finished at step 7"),
        (("--resume", "auto", "--set", "optimiser.stops=7"), 2, "optimiser.stops"),
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["bd", "real"])
def test_other_degradations_train_and_resume_exactly(
    recipe: Recipe, tmp_path: Path, name: str
) -> None:
    tree = recipe.model_dump()
    tree["data"] |= {"degradation": {"name": name}, "batch": 2}
    tree["optimiser"]["steps"] = 4
    recipe = Recipe.model_validate(tree)
    train(recipe)
    whole = torch.load(recipe.folder / "last.ckpt", weights_only=True)["params"]
    other = recipe.model_copy(update={"runs": tmp_path / "again"})
    data = other.data
    trainer = Trainer(other)
    pairs = PairCache.build(data.train, data.cache, 4, data.patch, data.degradation)
    for _ in range(2):
        trainer.train_step(pairs)
    other.folder.mkdir(parents=True)
    trainer.save(other.folder / "last.ckpt")
    train(other, resume="auto")
    parts = torch.load(other.folder / "last.ckpt", weights_only=True)["params"]
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
