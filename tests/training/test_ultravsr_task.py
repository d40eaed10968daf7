"""The stages of a small UltraVSR: each learns, and what ships is what was trained."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.registry import training_tasks
from upframe.systems.spec import Lazy
from upframe.systems.training_step import training_step
from upframe.systems.ultravsr.adapters import is_temporal
from upframe.systems.ultravsr.training.tasks import (
    EstimatorTask,
    PriorTask,
    UltraVSRTask,
)
from upframe.training.recipe import load_recipe
from upframe.weights.saving import save_weights

pytest.importorskip("diffusers")
pytest.importorskip("peft")

RECIPES = Path(__file__).parents[2] / "recipes"
PRIOR = {"width": 8, "layers": 1, "embedding": 8, "groups": 4}
ESTIMATOR = {"width": 4, "levels": 2}


def shake(network: nn.Module, spread: float = 0.1) -> None:
    """Move everything a little, so that what starts at zero has an effect."""
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += spread * noise


def save_stage(task: nn.Module, args: dict[str, Any], path: Path) -> str:
    """A checkpoint as training writes it."""
    recipe = json.dumps({"system": {"args": args}})
    torch.save({"recipe": recipe, "params_ema": task.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Arguments that name an autoencoder, a prior and an estimator; untrained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("stages")
    sizes = AutoencoderConfig((6, 8), 4, layers_per_block=1, scaling_factor=3, patch=4)
    network = Autoencoder(sizes)
    path = folder / "autoencoder.safetensors"
    save_weights(path, network.state_dict(), asdict(sizes))
    first: dict[str, Any] = {"autoencoder": str(path)}
    stages: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "prior": (PriorTask(**first, **PRIOR), first | PRIOR),
        "estimator": (EstimatorTask(**first, **ESTIMATOR), first | ESTIMATOR),
    }
    return first | {
        name: save_stage(task, args, folder / f"{name}.ckpt")
        for name, (task, args) in stages.items()
    }


def clips(frames: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(2, T, 3, 8, 8) and (2, T, 3, 32, 32), noisy and clean."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2 * frames, 3, 4, 4, generator=generator)
    high = nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    low = nn.functional.avg_pool2d(high, 4)
    low = (low + 0.1 * torch.randn(low.shape, generator=generator)).clamp(0, 1)
    return low.reshape(2, frames, 3, 8, 8), high.reshape(2, frames, 3, 32, 32)


def learn(task: nn.Module, low: Tensor, high: Tensor, steps: int) -> list[float]:
    """The sum of all losses, step by step."""
    chosen = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(chosen, 5e-3)
    seen = []
    for step in range(steps):
        torch.manual_seed(step % 4)
        response = training_step(task, low, high)
        loss = torch.stack(list(response.losses.values())).sum()
        if response.frames is not None:
            loss = loss + (response.frames - response.target).abs().mean()
        seen.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return seen


def means(losses: list[float]) -> tuple[float, float]:
    """Of the first and the last round of noise."""
    return sum(losses[:4]) / 4, sum(losses[-4:]) / 4


def test_the_prior_learns(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = PriorTask(files["autoencoder"], **PRIOR)
    first, last = means(learn(task, torch.zeros(1), clips()[1][:, 0], 40))
    assert last < 0.7 * first


def test_the_estimator_learns(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    first, last = means(
        learn(EstimatorTask(files["autoencoder"], **ESTIMATOR), *clips(), 40)
    )
    assert last < 0.5 * first


@pytest.mark.parametrize(("rank", "decoder"), [(None, False), (4, False), (None, True)])
def test_restoring_learns(
    files: dict[str, str], rank: int | None, decoder: bool
) -> None:
    torch.manual_seed(0)
    task = UltraVSRTask(**files, rank=rank, decoder=decoder, change_weight=0.5)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    first, last = means(learn(task, *clips(), 24))
    assert last < 0.85 * first
    for name, value in task.state_dict().items():
        frozen = name.startswith(("original.", "network.estimator."))
        decodes = name.startswith("network.vae.decoder.") and not is_temporal(name)
        if frozen or (decodes and not decoder):
            assert torch.equal(value, before[name]), name
        elif decodes:
            assert not torch.equal(value, before[name]), name


def test_temporal_modules_alone(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = UltraVSRTask(**files, spatial=False, warp_weight=1.0)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    first, last = means(learn(task, *clips(), 24))
    assert last < first
    for name, value in task.state_dict().items():
        changed = not torch.equal(value, before[name])
        assert changed == is_temporal(name) or not changed, name
    assert any(not torch.equal(v, before[k]) for k, v in task.state_dict().items())


def test_lora_trains_fewer_weights_than_there_are(files: dict[str, str]) -> None:
    counts = []
    for rank in (None, 1):
        task = UltraVSRTask(**files, rank=rank)
        counts.append(sum(p.numel() for p in task.parameters() if p.requires_grad))
    assert counts[1] < counts[0] / 3


def test_without_temporal_modules_frames_are_alone(files: dict[str, str]) -> None:
    task = UltraVSRTask(**files, rts=False)
    names = [name for name, p in task.named_parameters() if p.requires_grad]
    assert names
    assert not any(is_temporal(name) for name in names)
    learn(task, *clips(), 2)
    low, high = clips()
    task.eval()
    other = low.clone()
    other[:, 2] = 1 - other[:, 2]
    # the estimator looks at all frames
    factor = torch.tensor([0.7, 0.7])
    with torch.no_grad():
        pair = [task.network(x, factor)[:, :2] for x in (low, other)]
    assert torch.equal(*pair)
    shake(task.network.unet.video_up_RTS_blocks)
    with torch.no_grad():
        pair = [task.network(x, factor)[:, :2] for x in (low, other)]
    assert not torch.allclose(*pair)
    assert high.shape[1] == 3


def test_frames_that_flicker_cost(files: dict[str, str]) -> None:
    task = UltraVSRTask(**files, change_weight=1.0)
    # latents without noise, whose changes would be larger
    task.network.vae.encoder.conv_out.bias.data[4:] = -25
    low, high = clips()
    low, high = (x[:, :1].expand(-1, 3, -1, -1, -1) for x in (low, high))
    torch.manual_seed(0)
    calm = task.training_step(low, high).losses["change"]
    flicker = low + 0.2 * torch.tensor([-1.0, 1.0, -1.0])[:, None, None, None]
    torch.manual_seed(0)
    assert task.training_step(flicker.clamp(0, 1), high).losses["change"] > calm
    assert "change" not in task.training_step(low[:, :1], high[:, :1]).losses


def gradients(task: nn.Module, loss: Tensor) -> set[str]:
    """First two parts of the names of the parameters that a loss reaches."""
    task.zero_grad()
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return {
        ".".join(name.split(".")[:2])
        for name, p in task.named_parameters()
        if p.grad is not None and bool(p.grad.any())
    }


def test_distillation_teaches_each_network_its_own(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = UltraVSRTask(**files, content_weight=1.0, temporal_weight=0.5)
    assert task.distillation is not None
    # fresh copies agree about everything, and give no direction
    shake(task.distillation.fake, 0.05)
    losses = task.training_step(*clips()).losses
    made = {"network.unet", "network.vae"}
    assert gradients(task, losses["content"]) == made
    assert gradients(task, losses["temporal"]) == made
    assert gradients(task, losses["real"]) == {"distillation.real"}
    learnt = [n for n, p in task.named_parameters() if p.grad is not None]
    assert all(is_temporal(n) for n in learnt if n.startswith("distillation"))
    assert gradients(task, losses["fake"]) == {"distillation.fake"}


def test_distillation_learns(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = UltraVSRTask(**files, content_weight=0.1, temporal_weight=0.1)
    first, last = means(learn(task, *clips(), 24))
    assert last < 0.9 * first


def test_the_judge_of_clips_and_what_it_judges(files: dict[str, str]) -> None:
    torch.manual_seed(0)
    task = UltraVSRTask(**files, gan_weight=0.1, gan_channels=4)
    losses = task.training_step(*clips()).losses
    made = {"network.unet", "network.vae"}
    assert gradients(task, losses["temporal_gan"]) == made
    assert gradients(task, losses["discriminator"]) == {"judge.network"}
    optimiser = torch.optim.Adam(task.parameters(), 2e-3)
    judged = []
    for _ in range(12):
        loss = task.training_step(*clips()).losses["discriminator"]
        judged.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert judged[-1] < 0.9 * judged[0]


@pytest.mark.parametrize("rank", [None, 2])
def test_what_ships_is_what_was_trained(
    files: dict[str, str], rank: int | None
) -> None:
    from upframe.systems.ultravsr.configuration import build_ultravsr

    torch.manual_seed(0)
    task = UltraVSRTask(**files, rank=rank, content_weight=0.1, gan_weight=0.1)
    shake(task.network, 0.05)
    low, high = clips()
    expected = training_step(task.eval(), low, high).frames
    config, state = task.export_state()
    model = build_ultravsr(json.loads(json.dumps(config)))
    model.load_state_dict(state)
    with torch.no_grad():
        out = model.eval()(low)
    assert expected is not None
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    # and training can go on
    learn(task.train(), low, high, 1)


@pytest.mark.parametrize("swap", ["prior", "estimator"])
def test_checkpoints_of_other_stages_are_refused(
    files: dict[str, str], swap: str
) -> None:
    other = {"prior": "estimator", "estimator": "prior"}[swap]
    with pytest.raises(WeightsError, match="not the checkpoint of the stage"):
        UltraVSRTask(**files | {swap: files[other]})


def test_a_prior_of_another_autoencoder_is_refused(
    files: dict[str, str], tmp_path: Path
) -> None:
    task = PriorTask(files["autoencoder"], **PRIOR)
    args = {"autoencoder": files["autoencoder"], **PRIOR, "width": 12}
    path = save_stage(task, args, tmp_path / "wrong.ckpt")
    with pytest.raises(WeightsError, match="does not fit"):
        UltraVSRTask(**files | {"prior": path})


@pytest.mark.parametrize(
    "name",
    [
        "ultravsr-nano-prior",
        "degradation-estimator-nano",
        "ultravsr-nano-spatial",
        "ultravsr-nano",
    ],
)
def test_recipes_fit_their_tasks(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert recipe.name == name
    task = training_tasks()[recipe.system.name].build
    assert isinstance(task, Lazy)
    inspect.signature(task.load()).bind(**recipe.system.args)
