"""Networks that bring losses of their own, and validation on degraded clips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from upframe.errors import InputError, UsageError
from upframe.systems.registry import find_spec, registered
from upframe.systems.spec import TrainingTask
from upframe.systems.training_step import StepResult
from upframe.training.loop import train
from upframe.training.recipe import Recipe, load_recipe
from upframe.training.trainer import Trainer
from upframe.training.validation import ValidationSet


class Stage(nn.Module):
    """Knows a loss, gives no pictures, and has a part that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.full((2,), 3.0), requires_grad=False)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        noise = torch.randn(())
        loss = (self.value - high.mean() * self.frozen[0]).square()
        return StepResult(None, high, {"own": loss + 0 * noise})


@pytest.fixture
def stage(tree: dict[str, Any]) -> Iterator[Recipe]:
    task = TrainingTask("some-stage", Stage, own_losses=True)
    tree["system"] = {"name": "some-stage"}
    tree["optimiser"] |= {"loss": "own", "lr": 0.05, "steps": 24}
    with registered(replace(find_spec("oasis"), name="some", tasks=(task,))):
        yield Recipe.model_validate(tree)


def test_a_stage_learns_by_its_own_loss(stage: Recipe) -> None:
    train(stage)
    log = (stage.folder / "log.jsonl").read_text()
    lines = [json.loads(x) for x in log.splitlines()]
    scores = [line for line in lines if line["event"] == "val"]
    assert scores[-1]["own_loss"] < 0.5 * scores[0]["own_loss"]
    assert "psnr_y" not in scores[-1]
    saved = torch.load(stage.folder / "last.ckpt", weights_only=True)
    assert torch.equal(saved["params_ema"]["frozen"], torch.full((2,), 3.0))
    assert saved["params_ema"]["value"] != 1


def test_frozen_parameters_are_not_in_the_optimiser(stage: Recipe) -> None:
    trainer = Trainer(stage)
    known = [p for group in trainer.optimiser.param_groups for p in group["params"]]
    assert [p.shape for p in known] == [torch.Size([])]


def test_restoring_networks_have_no_loss_of_their_own(
    tmp_path: Path, tree: dict[str, Any]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: x\nsystem: {name: ditn}\ndata: {train: x}\n"
        "optimiser: {steps: 1, loss: own}\n"
    )
    with pytest.raises(UsageError, match="stages of diffusion systems"):
        load_recipe(path)


def _clips(folder: Path, side: int, value: int) -> Path:
    (folder / "clip").mkdir(parents=True)
    for number in range(2):
        picture = np.full((side, side, 3), value + number, np.uint8)
        Image.fromarray(picture).save(folder / "clip" / f"{number}.png")
    return folder


class Constant(nn.Module):
    """Gives the mean of what it gets, so that the score tells what that was."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((-2, -1), keepdim=True)
        return mean.expand(*x.shape[:-2], 4 * x.shape[-2], 4 * x.shape[-1])

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        return StepResult(self(low), high)


@pytest.mark.parametrize("clips", [False, True])
def test_degraded_clips_are_what_is_restored(tmp_path: Path, clips: bool) -> None:
    high, low = _clips(tmp_path / "gt", 64, 100), _clips(tmp_path / "lq", 16, 110)
    plain = ValidationSet(high, 4, 2, clips=clips).score(Constant())
    degraded = ValidationSet(high, 4, 2, clips=clips, low=low).score(Constant())
    assert plain is not None
    assert degraded is not None
    # ten grey levels are 8.6 of luma: 20 log10(255 / 8.59)
    assert degraded.values["psnr_y"] == pytest.approx(29.45, abs=0.1)
    assert plain.values["psnr_y"] > 48


def test_degraded_clips_that_do_not_fit(tmp_path: Path) -> None:
    high = _clips(tmp_path / "gt", 64, 100)
    with pytest.raises(InputError, match="times 4 is not the size"):
        ValidationSet(high, 4, 2, low=_clips(tmp_path / "small", 15, 110))
    with pytest.raises(InputError, match="is missing"):
        ValidationSet(high, 4, 2, low=tmp_path / "absent")
