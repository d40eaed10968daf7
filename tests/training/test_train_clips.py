"""Networks of clips train like those of frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from upframe.errors import UsageError
from upframe.systems.training_step import StepResult, training_step
from upframe.training.batches import Samples, batches
from upframe.training.loop import train
from upframe.training.networks import build_network, start_from
from upframe.training.recipe import Recipe, SystemConfig
from upframe.training.trainer import Trainer
from upframe.training.validation import ValidationSet


@pytest.mark.parametrize("kind", ["clip_tree", "lite_tree"])
def test_resume_is_exact_with_masks_and_chance(
    kind: str, request: pytest.FixtureRequest
) -> None:
    recipe = Recipe.model_validate(request.getfixturevalue(kind))
    whole = Trainer(recipe)
    samples = Samples(recipe.data, 4, recipe.seed)
    for step in range(recipe.optimiser.steps):
        whole.train_step(samples[step])
    assert train(recipe, minutes=0).step == 1
    torch.rand(5)  # chance that was used elsewhere does not matter
    report = train(recipe, resume="auto")
    saved = torch.load(report.checkpoint, weights_only=True)
    for name, state in (
        ("params", whole.network.state_dict()),
        ("params_ema", whole.averaged()),
    ):
        assert saved[name].keys() == state.keys()
        for key, value in state.items():
            assert torch.equal(saved[name][key], value), key
    assert report.finished


def test_workers_change_nothing(clip_tree: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(clip_tree)
    samples = Samples(recipe.data, 4, recipe.seed)
    seen = 0
    for step, batch in enumerate(batches(samples, 2, 7, workers=2), start=2):
        assert batch.low.shape == (2, 3, 8, 8, 3)
        for here, there in zip(samples[step][:2], batch[:2], strict=True):
            assert torch.equal(here, there)
        seen += 1
    assert seen == 5


def test_degradations_change_with_the_step(clip_tree: dict[str, Any]) -> None:
    constant = {"name": "real", "first_video": None, "final_video": None}
    walking = constant | {"temporal": "walk"}
    schedule = {"consistent_until": 2, "full_from": 5}
    batches_of = []
    for data in (
        {"degradation": constant},
        {"degradation": walking},
        {"degradation": constant, "progressive": schedule},
    ):
        tree = clip_tree | {"data": clip_tree["data"] | data}
        recipe = Recipe.model_validate(tree)
        samples = Samples(recipe.data, 4, recipe.seed)
        batches_of.append([samples[step].low for step in (2, 3, 5)])
    still, walk, both = batches_of
    assert torch.equal(both[0], still[0])
    assert not torch.equal(both[1], still[1])
    assert not torch.equal(both[1], walk[1])
    assert torch.equal(both[2], walk[2])


def test_shapes_that_networks_get(tree: dict[str, Any]) -> None:
    shapes = {}
    for name in ("ditn", "mia-vsr"):
        for frames in (1, 2):
            args = {"embed_dim": 8, "depths": [2], "heads": [2], "mid_channels": 4}
            tree["system"] = {"name": name, "args": {} if name == "ditn" else args}
            tree["data"]["frames"] = frames
            recipe = Recipe.model_validate(tree)
            batch = Samples(recipe.data, 4, 0)[0]
            shapes[name, frames] = tuple(Trainer(recipe)._images(batch.low).shape)
    assert shapes == {
        ("ditn", 1): (4, 3, 8, 8),
        ("ditn", 2): (4, 2, 3, 8, 8),
        ("mia-vsr", 1): (4, 1, 3, 8, 8),
        ("mia-vsr", 2): (4, 2, 3, 8, 8),
    }


def test_the_keep_ratios_are_part_of_the_loss(clip_tree: dict[str, Any]) -> None:
    losses = []
    for weight in (0.0, 1.0):
        clip_tree["optimiser"]["keep_weight"] = weight
        recipe = Recipe.model_validate(clip_tree)
        samples = Samples(recipe.data, 4, recipe.seed)
        losses.append(Trainer(recipe).train_step(samples[0])["loss"])
    assert 0.2 < losses[1] - losses[0] < 0.8


def test_the_flow_network_is_frozen_then_slow(clip_tree: dict[str, Any]) -> None:
    clip_tree["optimiser"] |= {"flow_freeze": 1, "flow_lr_scale": 0.25, "warmup": 0}
    recipe = Recipe.model_validate(clip_tree)
    trainer = Trainer(recipe)
    flow = trainer.network.get_parameter("spynet.bias")
    rest = trainer.network.get_parameter("last.bias")
    samples = Samples(recipe.data, 4, recipe.seed)
    before = flow.detach().clone(), rest.detach().clone()
    trainer.train_step(samples[0])
    assert torch.equal(flow, before[0])
    assert not torch.equal(rest, before[1])
    trainer.train_step(samples[1])
    rates = [group["lr"] for group in trainer.optimiser.param_groups]
    assert rates[1] == rates[0] * 0.25
    # the first step of Adam is as long as its rate
    moved = (flow - before[0]).detach().abs()
    torch.testing.assert_close(
        moved, torch.full_like(flow, rates[1]), rtol=1e-2, atol=0
    )


def test_a_larger_network_starts_from_a_smaller(
    clip_tree: dict[str, Any], tmp_path: Path
) -> None:
    small = Recipe.model_validate(clip_tree)
    report = train(small, minutes=0)
    clip_tree |= {"name": "larger", "init": report.checkpoint}
    clip_tree["system"]["args"] |= {"layers": 2}
    large = Recipe.model_validate(clip_tree)
    trainer = Trainer(large)
    saved = torch.load(report.checkpoint, weights_only=True)["params_ema"]
    state = trainer.network.state_dict()
    assert all(torch.equal(state[key], saved[key]) for key in saved)
    fresh = build_network(large.system).state_dict()
    assert trainer.initial == len(fresh.keys() - saved.keys()) > 0
    train(large, minutes=0)
    line = json.loads((large.folder / "log.jsonl").read_text().splitlines()[0])
    assert line == {
        "event": "init",
        "step": 0,
        "source": str(report.checkpoint),
        "not_in_file": trainer.initial,
    }
    report.checkpoint.unlink()
    assert train(large, resume="auto", minutes=0).step == 2  # brings its own weights
    trainer.save(tmp_path / "large.ckpt")
    with pytest.raises(UsageError, match=r"do not fit.*layers\.1\."):
        start_from(build_network(small.system), tmp_path / "large.ckpt")


def test_masks_are_trained_in_a_second_stage(lite_tree: dict[str, Any]) -> None:
    args = lite_tree["system"]["args"]
    lite_tree["system"]["args"] = args | {"use_mask": False}
    first = train(Recipe.model_validate(lite_tree))
    lite_tree["system"]["args"] = args | {"use_mask": True}
    lite_tree |= {"name": "second", "init": first.checkpoint, "log_every": 1}
    second = Recipe.model_validate(lite_tree)
    assert Trainer(second).initial == 0
    train(second)
    log = (second.folder / "log.jsonl").read_text().splitlines()
    keeps = [line["loss_keep"] for line in map(json.loads, log[1:])]
    assert len(keeps) == 4
    assert all(0 < keep <= 0.1 for keep in keeps)


def test_the_flow_has_weights_of_its_own(
    clip_tree: dict[str, Any], tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(clip_tree)
    torch.manual_seed(7)
    other = build_network(recipe.system).get_submodule("spynet").state_dict()
    torch.save({"params": other}, tmp_path / "flow.pth")
    clip_tree["system"]["flow"] = tmp_path / "flow.pth"
    state = Trainer(Recipe.model_validate(clip_tree)).network.state_dict()
    assert all(torch.equal(state["spynet." + key], v) for key, v in other.items())


def test_whole_clips_are_scored(tmp_path: Path) -> None:
    (tmp_path / "val" / "clip").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "val" / "clip" / f"{number}.png")

    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            shape = (*x.shape[:-2], x.shape[-2] * 4, x.shape[-1] * 4)
            return torch.full(shape, 0.5) + self.weight

        def training_step(self, low: torch.Tensor, high: torch.Tensor) -> StepResult:
            return StepResult(self(low), high)

    clips = ValidationSet(tmp_path / "val", 4, 3, clips=True)
    clips.score(Spy())
    frames = ValidationSet(tmp_path / "val", 4, 3)
    frames.score(Spy())
    assert [tuple(x.shape) for x in seen] == [(1, 3, 3, 16, 16)] + [(1, 3, 16, 16)] * 3
    assert torch.equal(seen[0][0, :1], seen[1])  # both begin with the first frame
    assert not torch.equal(seen[0][0, 1:2], seen[2])  # which then skip one
    assert torch.equal(seen[0][0, 2:], seen[2])


def test_a_system_that_is_not_there() -> None:
    with pytest.raises(ValidationError, match=r"no system edvr; known: .*mia-vsr-lite"):
        SystemConfig(name="edvr")


def test_the_spelling_of_earlier_versions_is_read() -> None:
    assert SystemConfig(name="mia_vsr_lite").name == "mia-vsr-lite"
    assert SystemConfig(name="ultravsr_prior").name == "ultravsr-prior"


def test_networks_without_masks_have_no_ratios() -> None:
    network = build_network(SystemConfig(name="ditn", args={"dim": 8}))
    low, high = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 64, 64)
    assert training_step(network, low, high).keep_ratios is None
