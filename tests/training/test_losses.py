"""Losses add up, see what they should, and their state resumes exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from material import reference
from upframe.errors import UsageError, WeightsError
from upframe.metrics.dists import DISTS, VGGStages
from upframe.metrics.dists import FILE as DISTS_FILE
from upframe.metrics.lpips import FILE, LPIPS, AlexLayers
from upframe.training.adversary import Adversary
from upframe.training.batches import Samples
from upframe.training.features import (
    VGG16,
    DISTSDistance,
    LPIPSDistance,
    PerceptualDistance,
)
from upframe.training.loop import train
from upframe.training.losses import GridDistance, Losses
from upframe.training.precision import Precision
from upframe.training.recipe import GANLoss, GridLoss, PixelLoss, Recipe
from upframe.training.trainer import Trainer

CPU = torch.device("cpu")


def _pictures(count: int, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(3)
    a, b = (torch.rand(count, 3, side, side, generator=chance) for _ in range(2))
    return a, b


def _gan(**settings: Any) -> list[dict[str, Any]]:
    return [
        {"name": "l1"},
        {"name": "gan", "weight": 0.1, "channels": 4, **settings},
    ]


def _save_alex(folder: Path) -> None:
    """Random weights of LPIPS."""
    torch.manual_seed(0)
    network = AlexLayers()
    for weight in network.weights():
        torch.nn.init.uniform_(weight)
    save_file(network.state_dict(), folder / FILE)


def test_a_list_of_losses_is_their_weighted_sum() -> None:
    a, b = _pictures(2)
    configs = [
        PixelLoss(name="l1", weight=2.0),
        PixelLoss(name="charbonnier", weight=0.5),
    ]
    got = Losses(configs, CPU)(a[None], b[None])  # a clip is its frames
    difference = (a - b).double()
    want = {
        "l1": 2 * difference.abs().mean(),
        "charbonnier": 0.5 * (difference**2 + 1e-6).sqrt().mean(),
    }
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert float(got[name]) == pytest.approx(float(value), rel=1e-5)


def test_lpips_is_the_metric_with_a_gradient(tmp_path: Path) -> None:
    _save_alex(tmp_path)
    loss = LPIPSDistance(tmp_path / FILE)
    a, b = ((x * 255).round() / 255 for x in _pictures(2))
    metric = LPIPS(tmp_path)
    one, two = (
        metric(*((x[i] * 255).round().byte().permute(1, 2, 0).numpy() for x in (a, b)))
        for i in range(2)
    )
    a.requires_grad_()
    value = loss(a, b)
    assert value.item() == pytest.approx((one + two) / 2, rel=1e-4)
    value.backward()
    assert a.grad is not None
    assert float(a.grad.abs().max()) > 0
    assert float(loss(b, b)) == 0
    with pytest.raises(WeightsError, match="VGG16"):
        PerceptualDistance(tmp_path / FILE, {"conv1_2": 1.0})


def test_lpips_of_pictures_that_move(tmp_path: Path) -> None:
    _save_alex(tmp_path)
    still = LPIPSDistance(tmp_path / FILE)
    moved = LPIPSDistance(tmp_path / FILE, shift=1)
    a, b = _pictures(1)
    want = {
        round(float(still(a[..., y:, x:], b[..., y:, x:])), 5)
        for y in range(2)
        for x in range(2)
    }
    assert len(want) == 4
    assert {round(float(moved(a, b)), 5) for _ in range(60)} == want


def test_dists_is_the_metric_with_a_gradient(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VGGStages()
    save_file(network.state_dict(), tmp_path / DISTS_FILE)
    a, b = ((x * 255).round() / 255 for x in _pictures(3, side=32))
    metric = DISTS(tmp_path)
    each = [
        metric(*((x[i] * 255).round().byte().permute(1, 2, 0).numpy() for x in (a, b)))
        for i in range(3)
    ]
    a.requires_grad_()
    value = DISTSDistance(tmp_path / DISTS_FILE)(a, b)
    assert value.item() == pytest.approx(sum(each) / 3, rel=1e-4)
    value.backward()
    assert a.grad is not None
    assert bool((a.grad.abs().amax((1, 2, 3)) > 0).all())
    # of some, drawn anew each time, the mean is one of theirs
    some = DISTSDistance(tmp_path / DISTS_FILE, images=1)
    drawn = {round(float(some(a.detach(), b)), 5) for _ in range(30)}
    assert len(drawn) == 3
    assert all(min(abs(x - y) for y in each) < 1e-4 for x in drawn)
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="DISTS"):
        DISTSDistance(tmp_path / "other.pth")


def test_lpips_of_the_authors_example() -> None:
    weights = reference(f"weights/metrics/{FILE}")
    folder = reference("golden/lpips")
    from upframe.datasets.images import read_image

    names = ("ex_ref.png", "ex_p0.png")
    one, two = (
        torch.tensor(read_image(folder / n)).permute(2, 0, 1)[None] / 255 for n in names
    )
    assert float(LPIPSDistance(weights)(two, one)) == pytest.approx(0.722, abs=1e-3)


def test_perceptual_is_vgg16_before_rectification(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = VGG16().state_dict()
    assert len(state) == 26
    state["classifier.0.weight"] = torch.zeros(2, 2)  # torchvision's file has them
    torch.save(state, tmp_path / "vgg16.pth")
    a, b = _pictures(1, side=32)
    got = PerceptualDistance(tmp_path / "vgg16.pth", {"conv2_2": 0.5})(a, b)

    def conv2_2(x: torch.Tensor) -> torch.Tensor:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        x = (x - mean) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        for number in (0, 2, 5, 7):
            key = f"features.{number}."
            x = F.conv2d(x, state[key + "weight"], state[key + "bias"], padding=1)
            if number == 7:
                return x
            x = F.relu(x)
            if number == 2:
                x = F.max_pool2d(x, 2)
        raise AssertionError

    want = 0.5 * (conv2_2(a) - conv2_2(b)).abs().mean()
    assert float(got) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize("discriminator", ["unet", "patch"])
@pytest.mark.parametrize("kind", ["vanilla", "hinge"])
def test_a_discriminator_learns_to_tell(discriminator: str, kind: str) -> None:
    torch.manual_seed(0)
    config = GANLoss.model_validate(
        {
            "name": "gan",
            "discriminator": discriminator,
            "kind": kind,
            "channels": 4,
            "lr": 3e-3,
        }
    )
    adversary = Adversary(config, 32, CPU)
    result, original = (
        x * 0.4 + s for x, s in zip(_pictures(2, 32), (0, 0.6), strict=True)
    )
    before = adversary.generator_loss(result).item()
    for _ in range(60):
        adversary.optimiser.zero_grad()
        loss = adversary.discriminator_loss(result, original)
        loss.backward()
        adversary.optimiser.step()
    assert loss.item() < (0.7 if kind == "vanilla" else 1.0)  # 1.39 and 2 by guessing
    assert adversary.generator_loss(result).item() > before
    result.requires_grad_()
    adversary.optimiser.zero_grad()
    adversary.generator_loss(result).backward()
    assert result.grad is not None
    assert all(p.grad is None for p in adversary.network.parameters())
    with torch.no_grad():
        towards_original = result - 0.05 * result.grad.sign()
        assert adversary.generator_loss(towards_original) < adversary.generator_loss(
            result
        )


def test_pictures_must_fit_the_discriminator() -> None:
    config = GANLoss(name="gan")
    with pytest.raises(UsageError, match="multiple of 8, not 36"):
        Adversary(config, 36, CPU)


@pytest.mark.parametrize("kind", ["tree", "clip_tree"])
def test_an_adversarial_run_resumes_exactly(
    kind: str, request: pytest.FixtureRequest
) -> None:
    tree = request.getfixturevalue(kind)
    tree["optimiser"] |= {"steps": 6, "loss": _gan(start=2)}
    tree["data"]["val"] = None
    tree["log_every"] = 1
    recipe = Recipe.model_validate(tree)
    whole = Trainer(recipe)
    samples = Samples(recipe.data, 4, recipe.seed)
    for step in range(6):
        whole.train_step(samples[step])
    for _ in range(4):  # stops before and after the loss begins
        train(recipe, resume="auto", minutes=0)
    report = train(recipe, resume="auto")
    saved = torch.load(report.checkpoint, weights_only=True)
    assert whole.adversary is not None
    for got, want in (
        (saved["params"], whole.network.state_dict()),
        (saved["params_ema"], whole.averaged()),
        (saved["adversary"]["network"], whole.adversary.network.state_dict()),
    ):
        assert got.keys() == want.keys()
        assert all(torch.equal(got[key], want[key]) for key in want)
    lines = (recipe.folder / "log.jsonl").read_text().splitlines()
    parts = [set(json.loads(line)) for line in lines]
    assert not any("loss_gan" in keys for keys in parts[:2])
    assert all({"loss_l1", "loss_gan", "loss_discriminator"} <= k for k in parts[2:])


def test_a_bad_step_leaves_the_discriminator_alone(tree: dict[str, Any]) -> None:
    tree["optimiser"]["loss"] = _gan()
    recipe = Recipe.model_validate(tree)
    trainer = Trainer(recipe)
    samples = Samples(recipe.data, 4, recipe.seed)
    trainer.train_step(samples[0])
    adversary = trainer.adversary
    assert adversary is not None
    with torch.no_grad():
        trainer.network.get_parameter("sft.bias")[0] = torch.nan
    before = [p.detach().clone() for p in adversary.network.parameters()]
    log = trainer.train_step(samples[1])
    assert np.isnan(log["loss"])
    after = list(adversary.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert trainer.skipped == 1


def test_a_run_without_the_loss_is_another_run(tree: dict[str, Any]) -> None:
    train(Recipe.model_validate(tree), minutes=0)
    tree["optimiser"]["loss"] = _gan()
    with pytest.raises(UsageError, match=r"another optimiser\.loss: gan"):
        train(Recipe.model_validate(tree), resume="auto")


@pytest.mark.parametrize("loss", ["charbonnier", _gan()])
def test_a_batch_in_parts_is_the_same_batch(tree: dict[str, Any], loss: Any) -> None:
    tree["optimiser"]["loss"] = loss
    gradients, logs = [], []
    for parts in (1, 4):
        tree["optimiser"]["accumulate"] = parts
        recipe = Recipe.model_validate(tree)
        trainer = Trainer(recipe)
        logs.append(trainer.train_step(Samples(recipe.data, 4, recipe.seed)[0]))
        gradients.append([p.grad for p in trainer.network.parameters()])
    # the estimate of spectral norms improves with every pass, so slightly another loss
    loose = 0.02 if "gan" in logs[0] else 1e-5
    assert logs[1] == pytest.approx(logs[0], rel=loose)
    for one, four in zip(*gradients, strict=True):
        torch.testing.assert_close(one, four, rtol=loose * 10, atol=loose * 1e-2)


def test_weight_decay_shrinks(tree: dict[str, Any]) -> None:
    norms = []
    for decay in (0.0, 5.0):
        tree["optimiser"] |= {"name": "adamw", "weight_decay": decay}
        recipe = Recipe.model_validate(tree)
        trainer = Trainer(recipe)
        trainer.train_step(Samples(recipe.data, 4, recipe.seed)[0])
        norms.append(trainer.network.get_parameter("sft.weight").norm().item())
    assert norms[1] < norms[0]


def test_blocks_computed_twice_give_the_same_step(mia_tree: dict[str, Any]) -> None:
    results = []
    for twice in (False, True):
        mia_tree["optimiser"]["checkpointing"] = twice
        recipe = Recipe.model_validate(mia_tree)
        trainer = Trainer(recipe)
        trainer.train_step(Samples(recipe.data, 4, recipe.seed)[0])
        results.append(trainer.averaged())
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_networks_without_blocks_to_compute_twice(tree: dict[str, Any]) -> None:
    tree["optimiser"]["checkpointing"] = True
    with pytest.raises(UsageError, match="cannot compute its blocks twice"):
        Trainer(Recipe.model_validate(tree))


def test_mixed_precision_needs_a_gpu(tree: dict[str, Any]) -> None:
    tree |= {"device": "cpu"}
    tree["optimiser"]["amp"] = "bf16"
    with pytest.raises(UsageError, match="needs a GPU"):
        Trainer(Recipe.model_validate(tree))


class _Anywhere(Precision):
    """Mixed precision on the CPU, which recipes may not ask for: it is slow there."""

    def __init__(self, amp: str, device: torch.device) -> None:
        super().__init__("off", device)
        self._type = {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_learns_the_same(
    tree: dict[str, Any], amp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree["optimiser"]["loss"] = _gan()
    recipe = Recipe.model_validate(tree)
    exact = Trainer(recipe)
    monkeypatch.setattr("upframe.training.trainer.Precision", _Anywhere)
    tree["optimiser"]["amp"] = amp
    mixed = Trainer(Recipe.model_validate(tree))
    samples = Samples(recipe.data, 4, recipe.seed)
    for step in range(3):
        one, two = (t.train_step(samples[step]) for t in (exact, mixed))
        assert two == pytest.approx(one, rel=0.03)
    assert mixed.skipped == 0
    assert all(p.dtype == torch.float32 for p in mixed.network.parameters())


def test_a_scale_that_was_too_large_halves(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upframe.training.trainer.Precision", _Anywhere)
    tree["optimiser"]["amp"] = "fp16"
    recipe = Recipe.model_validate(tree)
    trainer = Trainer(recipe)
    scaler = trainer.precision.scaler
    scaler._init_scale = 2.0**127  # beyond what gradients can carry
    samples = Samples(recipe.data, 4, recipe.seed)
    before = trainer.network.get_parameter("sft.bias").detach().clone()
    trainer.train_step(samples[0])
    assert trainer.skipped == 1
    assert scaler.get_scale() == 2.0**126
    assert torch.equal(trainer.network.get_parameter("sft.bias"), before)
    trainer.save(tmp_path / "half.ckpt")
    again = Trainer(recipe)
    again.restore(tmp_path / "half.ckpt")
    assert again.precision.scaler.get_scale() == 2.0**126


def test_grid_finds_what_repeats_and_forgives_what_does_not() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 3, 64, 96)
    grid = GridDistance(4, 8)
    noise = 0.1 * torch.randn_like(target)
    pattern = torch.zeros(4, 4)
    pattern[1, 2] = 1.0
    mesh = 0.02 * (pattern - pattern.mean()).repeat(16, 24)
    offset = torch.full_like(target, 0.1)
    assert grid(target, target) == 0
    assert grid(target + offset, target) < 1e-6
    assert grid(target + mesh, target).item() == pytest.approx(
        mesh.abs().mean().item(), rel=1e-4
    )
    # five times as large in every pixel, and still taken for less
    assert mesh.std() < noise.std() / 5
    whole = grid(target + mesh + noise, target)
    assert whole > 1.05 * grid(target + noise, target)
    # a mesh of another period averages out
    assert grid(target + 0.1 * torch.sin(torch.arange(96) * 0.7), target) < 0.01


def test_grid_is_a_loss_of_recipes() -> None:
    config = GridLoss(name="grid", weight=2.0)
    a, b = torch.rand(2, 1, 2, 3, 64, 64).unbind()
    losses = Losses([config], torch.device("cpu"))(a, b)
    want = 2 * GridDistance(4, 8)(a[0], b[0])
    torch.testing.assert_close(losses["grid"], want)
