"""LiftVSR from nothing: prior and system learn, ship as they are, and are compared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.liftvsr.configuration import build_liftvsr
from upframe.systems.liftvsr.training.objective import alignment_loss
from upframe.systems.liftvsr.training.tasks import LiftVSRTask, PriorTask, read_prior
from upframe.training.networks import start_from
from upframe.training.recipe import Recipe, load_recipe
from upframe.weights.saving import save_weights

pytest.importorskip("diffusers")
# diffusers' sampler on NumPy 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

RECIPES = Path(__file__).parents[2] / "recipes"
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 2,
    "sample_size": 4,
}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained."""
    torch.manual_seed(0)
    sizes = AutoencoderConfig((6, 8), 4, layers_per_block=1, scaling_factor=10, patch=4)
    path = tmp_path_factory.mktemp("autoencoder") / "autoencoder.safetensors"
    save_weights(path, Autoencoder(sizes).state_dict(), asdict(sizes))
    return str(path)


def save(task: torch.nn.Module, path: Path, **args: Any) -> str:
    """What a checkpoint of a run has that others read."""
    recipe = {"system": {"name": "pixart_prior", "args": args}}
    torch.save({"recipe": json.dumps(recipe), "params_ema": task.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def prior(autoencoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("prior") / "last.ckpt"
    task = PriorTask(autoencoder, **SIZES)
    return save(task, path, autoencoder=autoencoder, **SIZES)


def make(prior: str, **more: Any) -> LiftVSRTask:
    torch.manual_seed(1)
    return LiftVSRTask(prior, **({"segment": 3} | more))


def clips(batch: int = 2, frames: int = 4, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    low = torch.rand(batch, frames, 3, side, side, generator=generator)
    high = torch.nn.functional.interpolate(low.flatten(0, 1), scale_factor=4.0)
    return low, torch.unflatten(high, 0, (batch, frames))


def learn(task: Any, low: Tensor, high: Tensor, steps: int, lr: float) -> list[float]:
    """The sum of the task's own losses, step by step, with the same chance in each."""
    trained = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=lr)
    seen = []
    for _ in range(steps):
        torch.manual_seed(0)
        response = task.training_step(low, high)
        loss = torch.stack(list(response.losses.values())).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen.append(loss.item())
    return seen


def test_the_prior_learns_the_noise(autoencoder: str) -> None:
    torch.manual_seed(1)
    task = PriorTask(autoencoder, **SIZES).train()
    _, high = clips(batch=4, frames=1)
    losses = learn(task, high[:, 0], high[:, 0], 12, 1e-2)
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in task.vae.parameters())


def test_the_prior_comes_back_from_its_checkpoint(autoencoder: str, prior: str) -> None:
    torch.manual_seed(1)
    task = PriorTask(autoencoder, **SIZES)
    pixart, vae = read_prior(Path(prior))
    for mine, other in ((task.pixart, pixart), (task.vae, vae)):
        for name, value in other.state_dict().items():
            assert torch.equal(value, mine.state_dict()[name]), name


def test_what_is_no_prior_is_refused(autoencoder: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no prior"):
        read_prior(Path(autoencoder))
    other = PriorTask(autoencoder, **SIZES)
    deeper = SIZES | {"num_layers": 3}
    path = save(other, tmp_path / "last.ckpt", autoencoder=autoencoder, **deeper)
    with pytest.raises(WeightsError, match="no prior"):
        read_prior(Path(path))


def test_it_begins_with_the_degraded_latents(prior: str) -> None:
    """Whatever time and noise: decoded is what the autoencoder makes of the input."""
    task = make(prior, decoded=4).train()
    system = task.system
    low, high = clips()
    with torch.no_grad():
        torch.manual_seed(3)
        frames = task.training_step(low, high).frames
        big = torch.nn.functional.interpolate(
            low.flatten(0, 1), scale_factor=4.0, mode="bicubic", antialias=True
        ).clamp(0, 1)
        wanted = system.decode(system.encode(big), 32, 32)
    assert frames is not None
    # in an order of chance
    gaps = torch.cdist(frames.flatten(0, 1).flatten(1), wanted.flatten(1))
    assert gaps.amin(dim=1).max() < 1e-2
    assert gaps.amin(dim=0).max() < 1e-2


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("token_flow", [True, False])
def test_it_learns_with_and_without_what_is_compared(
    prior: str, memory: bool, token_flow: bool
) -> None:
    switches = {"memory": memory, "token_flow": token_flow}
    task = make(prior, weights={"alignment": 0.0}, **switches).train()
    low, high = clips()
    frozen = {k: v.clone() for k, v in task.system.vae.state_dict().items()}
    losses = learn(task, low, 1 - high, 12, 1e-2)
    assert losses[-1] < 0.9 * losses[0]
    after = task.system.vae.state_dict()
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    moved = {
        name
        for name, p in task.system.transformer.named_parameters()
        if p.grad is not None and p.grad.any()
    }
    assert any("attention.flow" in name for name in moved) == token_flow
    assert any("memory.value" in name for name in moved) == memory


def test_pictures_say_where_tokens_come_from() -> None:
    """Of two segments, 2 and 1 frames, of a ramp that moves a token a frame."""
    ramp = torch.arange(12.0).expand(1, 1, 3, 4, 12) / 12
    clip = torch.stack([ramp[:, 0, ..., 2 + n : 8 + n] for n in range(3)], dim=1)
    segments = torch.split(clip, [2, 1], dim=1)
    still = [torch.zeros(1, t, 1, 2, 4, 6) for t in (2, 2, 1)]
    assert alignment_loss([], segments) == 0
    gap = alignment_loss(still, segments)
    # half of the pairs of the first segment are a token apart
    torch.testing.assert_close(gap, torch.tensor((1 / 12) / 3))
    flows = [flow.clone().requires_grad_() for flow in still]
    alignment_loss(flows, segments).backward()  # type: ignore[no-untyped-call]
    first, second = flows[0].grad, flows[1].grad
    assert first is not None
    assert second is not None
    # frame 0 finds itself in frame 1 to the left, frame 1 in frame 0 to the right
    assert (first[0, 1, 0, 0, :, 1:-1] > 0).all()
    assert (second[0, 0, 0, 0, :, 1:-1] < 0).all()
    right = [flow.clone() for flow in still]
    right[0][0, 1, 0, 0] = -1.0
    right[1][0, 0, 0, 0] = 1.0
    assert alignment_loss(right, segments) < 0.3 * gap  # borders remain


def test_a_wider_system_starts_from_a_plain_one(prior: str, tmp_path: Path) -> None:
    plain = make(prior, memory=False, token_flow=False)
    path = tmp_path / "last.ckpt"
    save(plain, path)
    assert start_from(make(prior, memory=False, token_flow=False), path) == 0
    assert start_from(make(prior), path) > 0


def test_it_ships_what_it_has_learnt(prior: str) -> None:
    task = make(prior, token_flow=False).train()
    low, high = clips(frames=5)
    learn(task, low, high, 2, 1e-2)
    config, state = task.eval().export_state()
    network = build_liftvsr(json.loads(json.dumps(config)))
    network.load_state_dict(state)
    assert network.config == task.system.config
    with torch.no_grad():
        response = task.training_step(low, high)
        assert not response.losses
        assert response.frames is not None
        assert torch.equal(network.eval()(low), response.frames)
    assert response.frames.shape == high.shape


def test_recipes_name_stages_that_fit() -> None:
    recipes = {
        name: load_recipe(RECIPES / f"liftvsr-nano{name}.yaml")
        for name in ("-prior", "-frames", "")
    }
    full, frames = recipes[""], recipes["-frames"]
    assert full.init == _checkpoint(frames)
    prior = recipes["-prior"]
    kept = RECIPES / "checkpoints" / f"{prior.name}.ckpt"
    for recipe in (full, frames):
        assert Path(recipe.system.args["prior"]) in (_checkpoint(prior), kept)
    # a clip is cut into two segments of the paper's length or less
    assert 2 <= full.data.frames <= 16
    overrides = ("name=liftvsr-nano-plain", "system.args.token_flow=false")
    changed = load_recipe(RECIPES / "liftvsr-nano.yaml", overrides)
    assert changed.system.args["token_flow"] is False


def _checkpoint(recipe: Recipe) -> Path:
    return recipe.folder / "last.ckpt"
