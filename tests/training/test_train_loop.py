"""Training on a tiny recipe: it learns, resumes exactly, and survives NaN."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from upframe.errors import Interrupted, RuntimeFailure, UsageError
from upframe.training.batches import Samples
from upframe.training.command import run
from upframe.training.loop import train
from upframe.training.recipe import Recipe
from upframe.training.trainer import Trainer, learning_rate


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
    samples = Samples(recipe.data, 4, recipe.seed)
    for step in range(12):
        whole.train_step(samples[step])

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
    samples = Samples(recipe.data, 4, recipe.seed)
    trainer.train_step(samples[0])
    bias = trainer.network.get_parameter("sft.bias")
    with torch.no_grad():
        bias[0] = math.nan
    before = {k: v.clone() for k, v in trainer.averaged().items()}
    assert math.isnan(trainer.train_step(samples[1])["loss"])
    assert trainer.skipped == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.averaged().items())
    trainer.bad_in_a_row = 99
    with pytest.raises(RuntimeFailure, match="not finite"):
        trainer.train_step(samples[2])


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


def test_the_command_trains_and_refuses(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "upframe", "train", str(path), "--threads", "1"]
    command += ["--set", "optimiser.steps=5", "--set", "data.val=null"]
    for arguments, code, words in (
        ((), 0, "finished at step 5"),
        ((), 2, "--resume auto"),
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_the_command_continues_a_run(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.model_dump_json())
    said: list[str] = []

    def command(resume: str | None, *settings: str) -> Path:
        return run(
            path,
            settings=("data.val=null", *settings),
            resume=resume,
            minutes=None,
            threads=1,
            prepare=False,
            say=said.append,
        )

    command(None, "optimiser.steps=5")
    assert "finished at step 5 of 5" in said[-1]
    assert command("auto", "optimiser.steps=7") == recipe.folder / "last.ckpt"
    assert "finished at step 7 of 7" in said[-1]
    with pytest.raises(UsageError, match=r"optimiser\.stops"):
        command("auto", "optimiser.stops=7")


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
    trainer = Trainer(other)
    samples = Samples(other.data, 4, other.seed)
    for step in range(2):
        trainer.train_step(samples[step])
    other.folder.mkdir(parents=True)
    trainer.save(other.folder / "last.ckpt")
    train(other, resume="auto")
    parts = torch.load(other.folder / "last.ckpt", weights_only=True)["params"]
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
