"""The stages of PatchScaler: they learn what they should, and ship what they learnt."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.patchscaler.configuration import build_patchscaler
from upframe.systems.patchscaler.training import (
    PatchScalerTask,
    RestorationTask,
    TextureTask,
    read_classifier,
    read_restoration,
)
from upframe.systems.training_step import StepResult
from upframe.training.recipe import Recipe, load_recipe
from upframe.training.textures import make_textures
from upframe.training.trainer import Trainer
from upframe.weights.saving import save_weights

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def recipe(name: str, args: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name.replace("_", "-"),
            "system": {"name": name, "args": args},
            "data": {"train": "nowhere", "patch": 16},
            "optimiser": {"loss": "own", "steps": 9, "lr": 3e-3, "warmup": 0},
        }
    )


def stage(folder: Path, name: str, args: dict[str, Any]) -> Path:
    """An untrained stage's checkpoint, as a run leaves it; all weights matter."""
    trainer = Trainer(recipe(name, args))
    for value in trainer.average:
        value.add_(0.02 * torch.randn_like(value))
    path = folder / f"{name}.ckpt"
    trainer.save(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Autoencoder, the first two stages and a texture memory, all tiny."""
    folder = tmp_path_factory.mktemp("stages")
    torch.manual_seed(0)
    sizes = AutoencoderConfig((4, 6), 4, 1, 0.7, patch=4)
    vae = folder / "vae.safetensors"
    save_weights(vae, Autoencoder(sizes).state_dict(), asdict(sizes))
    args: dict[str, Any] = {"autoencoder": str(vae), "widths": [8, 12], "blocks": 1}
    restoration = stage(folder, "patchscaler_restoration", args)
    args = {"restoration": str(restoration), "widths": [6, 8], "patch": 4}
    classifier = stage(folder, "texture_classifier", args)
    pictures = folder / "pictures"
    pictures.mkdir()
    from PIL import Image

    for number in range(3):
        pixels = torch.randint(0, 256, (70, 70, 3), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(pictures / f"{number}.png")
    memory = folder / "memory.safetensors"
    make_textures(str(classifier), [pictures], capacity=5).save(memory)
    return {
        "autoencoder": vae,
        "restoration": restoration,
        "classifier": classifier,
        "pictures": pictures,
        "memory": memory,
    }


def last(files: dict[str, Path], **changed: Any) -> PatchScalerTask:
    torch.manual_seed(1)
    args: dict[str, Any] = {
        "memory": str(files["memory"]),
        "groups": [[200, 1], [500, 2], [800, 3]],
        "layers": 1,
        "heads": 2,
        "head_width": 8,
        "patch": 4,
        "overlap": 1,
        "references": 2,
        **changed,
    }
    return PatchScalerTask(str(files["restoration"]), str(files["classifier"]), **args)


def pair(count: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    high = torch.rand(count, 3, 64, 64, generator=generator)
    return nn.functional.avg_pool2d(high, 4), high


def learn(task: nn.Module, steps: int) -> tuple[float, float]:
    """The sum of own losses before and after."""
    task.train()
    low, high = pair()

    def loss() -> Tensor:
        torch.manual_seed(0)
        answer: StepResult = task.training_step(low, high)  # type: ignore[operator]
        assert answer.frames is not None
        assert answer.frames.shape == answer.target.shape
        return torch.stack(list(answer.losses.values())).sum()

    trained = [p for p in task.parameters() if p.requires_grad]
    frozen = {n: p.clone() for n, p in task.named_parameters() if not p.requires_grad}
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    with torch.no_grad():
        first = loss().item()
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None for p in trained)
        optimiser.step()
    assert all(
        torch.equal(dict(task.named_parameters())[n], p) for n, p in frozen.items()
    )
    with torch.no_grad():
        return first, loss().item()


def test_the_restoration_module_learns(files: dict[str, Path]) -> None:
    torch.manual_seed(0)
    task = RestorationTask(str(files["autoencoder"]), (8, 12), 1, decoded=2)
    before, after = learn(task, 40)
    assert after < 0.9 * before
    answer = task.eval().training_step(
        torch.rand(1, 3, 9, 11), torch.rand(1, 3, 36, 44)
    )
    assert answer.frames is not None  # any size
    assert answer.frames.shape == (1, 3, 36, 44)


def test_the_classifier_learns_to_tell_pictures_apart(files: dict[str, Path]) -> None:
    torch.manual_seed(0)
    task = TextureTask(str(files["restoration"]), (6, 8), 4)
    low, high = pair()
    # each picture in a colour of its own, which all its patches share
    colours = torch.rand(4, 3, 1, 1)
    high, low = (0.2 * x + 0.8 * colours for x in (high, low))
    optimiser = torch.optim.Adam(task.classifier.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        optimiser.zero_grad()
        loss = task.training_step(low, high).losses["texture"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_patch_dit_learns_and_only_it(files: dict[str, Path]) -> None:
    task = last(files)
    before, after = learn(task, 30)
    assert after < 0.9 * before
    names = {n.split(".")[1] for n, p in task.named_parameters() if p.requires_grad}
    assert names == {"dit", "texture_encoder", "no_prompt"}


def test_untrained_it_predicts_the_coarse_latent(files: dict[str, Path]) -> None:
    task = last(files).train()
    low, high = pair(2)
    answer = task.training_step(low, high)
    stage = RestorationTask(str(files["autoencoder"]), (8, 12), 1)
    stage.vae, stage.restoration = task.model.vae, task.model.restoration
    wanted = stage.training_step(low, high).frames
    assert answer.frames is not None
    torch.testing.assert_close(answer.frames, wanted, rtol=1e-4, atol=1e-5)


def test_without_prompts_the_memory_makes_no_difference(files: dict[str, Path]) -> None:
    answers = []
    for memory in (str(files["memory"]), None):
        task = last(files, memory=memory, prompt_dropout=1.0).train()
        nn.init.normal_(task.model.dit.proj_out.weight, generator=_seeded())
        torch.manual_seed(3)
        answers.append(task.training_step(*pair(2)).losses["denoising"].item())
    assert answers[0] == pytest.approx(answers[1], rel=1e-5)


def test_what_ships_gives_what_the_task_gives(files: dict[str, Path]) -> None:
    task = last(files)
    nn.init.normal_(task.model.dit.proj_out.weight, std=0.1, generator=_seeded())
    config, state = task.export_state()
    system = build_patchscaler(json.loads(json.dumps(config))).eval()
    system.load_state_dict(state)
    assert system.memory is not None
    assert len(system.memory) == 5
    low, high = pair(1)
    with torch.no_grad():
        wanted = task.eval().training_step(low, high).frames
        # weights have lost the digits that float16 does not have
        torch.testing.assert_close(
            system(low[:, None])[:, 0], wanted, rtol=0, atol=5e-3
        )
        system.set_memory(None)
        other = system(low[:, None])[:, 0]
    assert wanted is not None
    assert (other - wanted).abs().max() > 1e-4


def test_files_of_other_stages_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match="no restoration module"):
        read_restoration(files["autoencoder"])
    with pytest.raises(WeightsError, match="no texture classifier"):
        read_classifier(files["restoration"])
    assert read_classifier(files["classifier"]).patch == 4


@pytest.mark.parametrize(
    "name",
    ["patchscaler-nano-restoration", "texture-classifier-nano", "patchscaler-nano"],
)
def test_the_recipes_are_valid(name: str) -> None:
    assert load_recipe(RECIPES / f"{name}.yaml").name == name


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)
