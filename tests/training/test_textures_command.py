"""``upframe textures``: a memory file from pictures, and errors that help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nano_parts
from upframe.cli.textures import textures
from upframe.errors import InputError, OutputError, UsageError
from upframe.systems.patchscaler.texture_memory import TextureMemory
from upframe.weights.loading import load


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 256, (130, 150, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_memory_is_built_and_used(tmp_path: Path, pictures: Path) -> None:
    model = nano_parts.save(tmp_path, "patchscaler")
    output = tmp_path / "memory.safetensors"
    textures(str(model), [pictures], output, capacity=3, most=4)
    memory = TextureMemory.load(output)
    assert len(memory) == 3
    load(model).set_memory(memory)  # type: ignore[operator]
    with pytest.raises(OutputError, match="exists already"):
        textures(str(model), [pictures], output)
    textures(str(model), [pictures], output, capacity=2, most=4, overwrite=True)
    assert len(TextureMemory.load(output)) == 2


def test_a_model_gets_another_memory(tmp_path: Path, pictures: Path) -> None:
    model = nano_parts.save(tmp_path, "patchscaler")
    memory, whole = tmp_path / "memory.safetensors", tmp_path / "other.safetensors"
    textures(str(model), [pictures], memory, capacity=3)
    textures(str(model), [pictures], whole, capacity=3, whole=True)
    system, other = load(model), load(whole)
    clip = nano_parts.clip(1)
    with torch.no_grad():
        before = system(clip)
        system.set_memory(TextureMemory.load(memory))  # type: ignore[operator]
        wanted = system(clip)
        torch.testing.assert_close(other(clip), wanted, rtol=0, atol=2e-3)
    assert (wanted - before).abs().max() > 5e-3


def test_bad_input_is_refused(tmp_path: Path, pictures: Path) -> None:
    output = tmp_path / "memory.safetensors"
    with pytest.raises(UsageError, match="no PatchScaler"):
        textures("mia-vsr-xs", [pictures], output)
    model = str(nano_parts.save(tmp_path, "patchscaler"))
    with pytest.raises(InputError):
        textures(model, [tmp_path / "nowhere"], output)
    small = tmp_path / "small"
    small.mkdir()
    Image.new("RGB", (20, 20)).save(small / "1.png")
    with pytest.raises(InputError, match="no patches"):
        textures(model, [small], output)
    with pytest.raises(OutputError, match="cannot be written"):
        textures(model, [pictures], tmp_path / "nowhere" / "memory", capacity=1)
