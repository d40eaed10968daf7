"""OASIS from nothing: it learns, ships as it is, and goes on with routed heads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.oasis.configuration import build_oasis
from upframe.systems.oasis.head_routing import LayerRouting, Routing
from upframe.systems.oasis.model import Chunking
from upframe.systems.oasis.routed_attention import HeadKind
from upframe.systems.oasis.training import OASISTask
from upframe.training.networks import start_from
from upframe.training.recipe import load_recipe
from upframe.weights.saving import save_weights

RECIPES = Path(__file__).parents[2] / "recipes"
SIZES: dict[str, Any] = {
    "layers": 2,
    "heads": 3,
    "head_dim": 12,
    "ffn_dim": 24,
    "guess": {"width": 6, "blocks": 1},
}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained."""
    torch.manual_seed(0)
    sizes = AutoencoderConfig((6, 8), 4, layers_per_block=1, scaling_factor=3, patch=4)
    path = tmp_path_factory.mktemp("autoencoder") / "autoencoder.safetensors"
    save_weights(path, Autoencoder(sizes).state_dict(), asdict(sizes))
    return str(path)


def make(autoencoder: str, **more: Any) -> OASISTask:
    torch.manual_seed(1)
    return OASISTask(autoencoder, **(SIZES | more))


def clips(batch: int = 2, frames: int = 4, side: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    low = torch.rand(batch, frames, 3, side, side, generator=generator)
    high = torch.nn.functional.interpolate(low.flatten(0, 1), scale_factor=4.0)
    return low, torch.unflatten(high, 0, (batch, frames))


def routed(
    task: OASISTask, path: Path, window: tuple[int, int, int], *heads: HeadKind
) -> str:
    layers = (LayerRouting(heads=heads),) * SIZES["layers"]
    architecture = task.system.routing.architecture
    Routing(architecture=architecture, window=window, layers=layers).save(path)
    return str(path)


def test_it_learns_the_latents_of_the_originals(autoencoder: str) -> None:
    task = make(autoencoder, latent_weight=1.0).train()
    frozen = {k: v.clone() for k, v in task.system.vae.state_dict().items()}
    low, high = clips(batch=1, frames=2)
    trained = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    losses = []
    for _ in range(20):
        response = task.training_step(low, high)
        optimiser.zero_grad()
        response.losses["latents"].backward()
        optimiser.step()
        losses.append(float(response.losses["latents"].detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(
        torch.equal(v, task.system.vae.state_dict()[k]) for k, v in frozen.items()
    )


def test_some_frames_are_decoded_in_training_and_all_for_scores(
    autoencoder: str,
) -> None:
    task = make(autoencoder, decoded=2)
    low, high = clips()
    begins = set()
    for seed in range(12):
        torch.manual_seed(seed)
        response = task.train().training_step(low, high)
        assert response.frames is not None
        assert response.frames.shape == response.target.shape == (2, 2, 3, 64, 64)
        begins |= {
            i for i in range(3) if torch.equal(response.target, high[:, i : i + 2])
        }
    assert begins == {0, 1, 2}
    response.frames.mean().backward()
    assert task.system.transformer.proj_out.weight.grad.abs().sum() > 0
    with torch.inference_mode():
        answer = task.eval().training_step(low, high)
        assert answer.frames is not None
        torch.testing.assert_close(answer.frames, task.system(low))
    assert torch.equal(answer.target, high)


def test_sides_that_fill_no_patch_are_padded(autoencoder: str) -> None:
    task = make(autoencoder).eval()
    low, high = (
        x[..., : 13 * s, : 10 * s] for x, s in zip(clips(), (1, 4), strict=True)
    )
    with torch.inference_mode():
        response = task.training_step(low, high)
        assert response.frames is not None
        assert response.frames.shape == high.shape
        # at the start the output is the guess alone, wherever the transformer looks
        torch.testing.assert_close(response.frames, task.system(low))


def test_what_ships_is_what_was_trained(autoencoder: str, tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    heads: tuple[HeadKind, ...] = ("window", "global", "frame")
    file = routed(make(autoencoder), path, (3, 3, 3), *heads)
    task = make(autoencoder, routing=file).eval()
    torch.nn.init.normal_(task.system.transformer.proj_out.weight, std=0.1)
    config, state = task.export_state()
    again = build_oasis(json.loads(json.dumps(config))).eval()
    again.load_state_dict(state)
    assert again.routing == task.system.routing
    assert not any(key.startswith("vae.encoder") for key in state)
    # one token of a prompt needs neither queries nor keys
    assert {key.split(".")[4] for key in state if "attn2" in key} == {"to_v", "to_out"}
    low, _ = clips(side=20)
    with torch.inference_mode():
        assert torch.equal(again(low), task.system(low))


def test_shipped_chunks_give_what_the_whole_clip_gives(
    autoencoder: str, tmp_path: Path
) -> None:
    heads: tuple[HeadKind, ...] = ("window", "window", "frame")
    file = routed(make(autoencoder), tmp_path / "local.json", (3, 3, 3), *heads)
    task = make(autoencoder, routing=file).eval()
    torch.nn.init.normal_(task.system.transformer.proj_out.weight, std=0.1)
    chunking = task.export_state()[0]["chunking"]
    assert chunking == {"length": 21, "context": 2, "blend": 0}
    low, _ = clips(batch=1, frames=40, side=8)
    with torch.inference_mode():
        cut = Chunking(**chunking)
        frames = list(task.system.stream(low.unbind(1), chunking=cut))
        torch.testing.assert_close(torch.stack(frames, 1), task.system(low))
    assert make(autoencoder).export_state()[0]["chunking"] == asdict(Chunking())


def test_routed_heads_are_dense_heads_where_they_see_all(
    autoencoder: str, tmp_path: Path
) -> None:
    dense = make(autoencoder).eval()
    torch.nn.init.normal_(dense.system.transformer.proj_out.weight, std=0.1)
    torch.save({"params_ema": dense.state_dict()}, tmp_path / "stage1.ckpt")
    low, high = clips(frames=3)
    far = routed(dense, tmp_path / "far.json", (5, 9, 9), *["window"] * 3)
    near = routed(dense, tmp_path / "near.json", (1, 3, 3), *["window"] * 3)
    found = {}
    for file in (far, near):
        task = make(autoencoder, routing=file).eval()
        assert start_from(task, tmp_path / "stage1.ckpt") == 0
        with torch.inference_mode():
            found[file] = task.training_step(low, high).frames
    with torch.inference_mode():
        wanted = dense.training_step(low, high).frames
    torch.testing.assert_close(found[far], wanted, rtol=0, atol=1e-5)
    assert (found[near] - wanted).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["oasis-nano", "oasis-nano-routed"])
def test_the_recipes_build_a_system_below_four_megabytes(
    name: str, autoencoder: str
) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert recipe.name == name
    args = {**recipe.system.args, "autoencoder": autoencoder, "routing": None}
    task = OASISTask(**args)
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    decoder = 611_568
    assert 2 * (trained + decoder) < 4e6
