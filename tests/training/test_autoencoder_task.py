"""The autoencoder as a stage of training, and its weights as a start for others."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import NANO
from upframe.systems.diffusion.training import AutoencoderTask, read_autoencoder
from upframe.systems.training_step import training_step
from upframe.weights.saving import save_weights

SIZES = {"block_out_channels": (8, 8), "latent_channels": 4, "layers_per_block": 1}


def _pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")


def test_it_learns_to_give_pictures_back() -> None:
    torch.manual_seed(0)
    task = AutoencoderTask(**SIZES)
    optimiser = torch.optim.Adam(task.parameters(), 5e-3)
    pictures, losses = _pictures(), []
    for _ in range(60):
        response = task.training_step(torch.zeros(2, 3, 8, 8), pictures)
        assert response.frames is not None
        loss = (response.frames - response.target).abs().mean()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        (loss + response.losses["kl"]).backward()
        optimiser.step()
    assert losses[-1] < 0.4 * losses[0]


def test_latents_are_sampled_in_training_alone() -> None:
    task, pictures = AutoencoderTask(**SIZES), _pictures()
    # a fresh decoder hears nothing of the latent through its residual blocks alone
    pairs = {}
    for mode in (True, False):
        task.train(mode)
        frames = [training_step(task, pictures, pictures).frames for _ in range(2)]
        pairs[mode] = torch.equal(*frames)  # type: ignore[arg-type]
    assert pairs == {True: False, False: True}


def test_sides_are_cut_to_whole_latents() -> None:
    response = AutoencoderTask(**SIZES).training_step(
        torch.zeros(1), torch.rand(1, 3, 35, 41)
    )
    assert response.frames is not None
    assert response.frames.shape == response.target.shape == (1, 3, 32, 40)


def test_weights_come_back_frozen_with_their_sizes(tmp_path: Path) -> None:
    task = AutoencoderTask(**SIZES)
    config = asdict(replace(task.network.config, scaling_factor=1.5))
    path = tmp_path / "autoencoder.safetensors"
    save_weights(path, task.network.state_dict(), config)
    network = read_autoencoder(path)
    assert network.config == replace(NANO, **SIZES, scaling_factor=1.5)  # type: ignore[arg-type]
    assert not any(p.requires_grad for p in network.parameters())
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(
        network.encode(x).latent_dist.mean, task.network.encode(x).latent_dist.mean
    )


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A larger autoencoder with weights that say something."""
    torch.manual_seed(3)
    network = AutoencoderTask(**SIZES | {"layers_per_block": 2}).network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path / "teacher.safetensors"
    config = asdict(replace(network.config, scaling_factor=2.0))
    save_weights(path, network.state_dict(), config)
    return path


def test_a_smaller_one_starts_as_its_teacher(teacher: Path) -> None:
    task = AutoencoderTask(teacher=str(teacher), **SIZES)
    assert task.teacher is not None
    known = task.teacher.state_dict()
    for name, value in task.network.state_dict().items():
        assert torch.equal(value, known[name]), name
    assert len(task.network.state_dict()) < len(known)


def test_a_smaller_one_learns_the_latents_of_its_teacher(teacher: Path) -> None:
    task = AutoencoderTask(teacher=str(teacher), latent_weight=2.0, **SIZES)
    assert task.teacher is not None
    pictures = _pictures()
    before = {k: v.clone() for k, v in task.teacher.state_dict().items()}
    with torch.no_grad():
        means = [
            network.encode(pictures * 2 - 1).latent_dist.mean
            for network in (task.network, task.teacher)
        ]
        apart = (means[0] - means[1]).abs().mean()
        found = task.training_step(pictures, pictures).losses["latent"]
    # in units of the teacher's latents, whose scaling_factor is 2
    torch.testing.assert_close(found, 2.0 * 2.0 * apart)
    trained = [p for p in task.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, 3e-3)
    for _ in range(60):
        loss = task.training_step(pictures, pictures).losses["latent"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.4 * float(found)
    for name, value in task.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_its_checkpoint_is_read_without_the_teacher(
    teacher: Path, tmp_path: Path
) -> None:
    arguments = {"teacher": str(teacher), "latent_weight": 0.1, **SIZES}
    task = AutoencoderTask(**arguments)  # type: ignore[arg-type]
    recipe = json.dumps({"system": {"args": arguments}})
    path = tmp_path / "last.ckpt"
    torch.save({"recipe": recipe, "params": task.state_dict()}, path)
    teacher.unlink()
    read = read_autoencoder(path).state_dict()
    assert read.keys() == task.network.state_dict().keys()


def test_a_teacher_of_other_latents_is_refused(teacher: Path) -> None:
    with pytest.raises(WeightsError, match="4 channels, 8 times"):
        AutoencoderTask(teacher=str(teacher), **SIZES | {"latent_channels": 6})


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds no autoencoder"):
        read_autoencoder(path)
