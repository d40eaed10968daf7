"""The texture memory: search, choice, files, prompt tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from upframe.errors import InputError, UsageError, WeightsError
from upframe.systems.patchscaler.texture_memory import (
    Found,
    TextureClassifier,
    TextureEncoder,
    TextureMemory,
    build_memory,
    spread,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classifier(seed: int = 0) -> TextureClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TextureClassifier(4, (6, 8), classes=3).eval()


def test_the_nearest_come_first_and_are_those_of_a_full_search() -> None:
    keys, queries = F.normalize(random(50, 8)), F.normalize(random(5, 8, seed=1))
    memory = TextureMemory(keys, random(50, 2, 4, 4), "")
    found = memory.find(queries, 3)
    for query, indices, similarity in zip(
        queries, found.indices.tolist(), found.similarity, strict=True
    ):
        products = [float(query @ key) for key in keys]
        wanted = sorted(range(50), key=lambda n: -products[n])[:3]
        assert indices == wanted
        torch.testing.assert_close(
            similarity, torch.tensor([products[n] for n in wanted])
        )
    assert torch.equal(found.values, memory.values[found.indices])
    assert memory.find(queries, 99).indices.shape == (5, 50)


def test_a_patch_of_the_memory_finds_itself() -> None:
    model = classifier()
    patches = random(9, 4, 8, 8)
    memory = build_memory(torch.split(patches, 4), model, 9)
    with torch.no_grad():
        found = memory.find(model.features(patches), 1)
    assert torch.equal(found.values[:, 0], patches)
    torch.testing.assert_close(found.similarity, torch.ones(9, 1))


def test_a_full_memory_keeps_what_differs_most() -> None:
    angles = torch.tensor([0.0, 0.01, 0.02, 1.5, 1.51, 3.0])
    keys = torch.stack((angles.cos(), angles.sin()), dim=1)
    assert spread(keys, 3).tolist() == [0, 5, 3]
    assert sorted(spread(keys, 99).tolist()) == [0, 1, 2, 3, 4, 5]
    same = torch.ones(4, 2)
    assert sorted(spread(same, 4).tolist()) == [0, 1, 2, 3]  # never one twice
    model = classifier()
    patches = random(20, 4, 8, 8)
    memory = build_memory([patches], model, 5)
    with torch.no_grad():
        kept = spread(model.features(patches), 5)
    assert torch.equal(memory.values, patches[kept])


def test_files_keep_everything(tmp_path: Path) -> None:
    model = classifier()
    memory = build_memory([random(3, 4, 8, 8)], model, 3)
    memory.save(tmp_path / "memory.safetensors")
    again = TextureMemory.load(tmp_path / "memory.safetensors")
    assert torch.equal(again.keys, memory.keys)
    assert torch.equal(again.values, memory.values)
    assert again.classifier == model.fingerprint() != classifier(1).fingerprint()


def test_files_that_are_no_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="cannot be read"):
        TextureMemory.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="cannot be read"):
        TextureMemory.load(path)
    save_file({"weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="no texture memory"):
        TextureMemory.load(path)
    tensors = {"keys": torch.ones(2, 8), "values": torch.ones(3, 4, 8, 8)}
    save_file(tensors, path, {"version": "1", "texture_classifier": ""})
    with pytest.raises(WeightsError, match="not of the same references"):
        TextureMemory.load(path)


def test_nothing_to_build_from_is_an_error() -> None:
    with pytest.raises(InputError, match="no patches"):
        build_memory([], classifier(), 3)
    with pytest.raises(UsageError, match="holds nothing"):
        build_memory([random(3, 4, 8, 8)], classifier(), 0)
    with pytest.raises(UsageError, match="is empty"):
        TextureMemory(torch.ones(0, 8), torch.ones(0, 4, 8, 8), "")


def test_features_have_unit_length_and_logits_the_classes() -> None:
    model = classifier()
    with torch.no_grad():
        features = model.features(random(5, 4, 8, 8))
        logits = model(random(5, 4, 8, 8))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(5))
    assert logits.shape == (5, 3)


def test_tokens_know_the_similarity_and_not_the_order() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = TextureEncoder(4, 16)
    values = random(2, 3, 4, 8, 8)
    similarity = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.6]])
    indices = torch.zeros(2, 3, dtype=torch.int64)
    with torch.no_grad():
        tokens = encoder(Found(values, similarity, indices))
        swapped = encoder(Found(values.flip(1), similarity.flip(1), indices))
        nearer = encoder(Found(values, similarity + 0.05, indices))
    assert tokens.shape == (2, 3 * 4, 16)
    per_reference = tokens.unflatten(1, (3, 4))
    torch.testing.assert_close(swapped.unflatten(1, (3, 4)).flip(1), per_reference)
    assert ((nearer - tokens).abs().amax(2) > 1e-4).all()
