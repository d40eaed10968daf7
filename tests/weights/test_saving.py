"""Weight files of ours: what is in them, what is read of them, and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from upframe.errors import OutputError, WeightsError
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.saving import save_weights

CONFIG = {"dim": 16, "groups": [1, 2], "norm": None}


def test_reading_gives_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    wide = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    save_weights(path, {"a": wide, "n": torch.tensor([3])}, CONFIG, system="oasis")
    found = read_checkpoint(path)
    assert (found.system, found.declared) == ("oasis", CONFIG)
    assert torch.equal(found.state["a"], wide)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_half_the_digits_and_whole_numbers_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    state = {"a": torch.rand(3) + 1, "n": torch.tensor([70_000])}
    save_weights(path, state, CONFIG, half=True)
    found = read_checkpoint(path)
    assert found.system is None
    assert torch.equal(found.state["a"], state["a"].half())
    assert torch.equal(found.state["n"], state["n"])


def test_what_leaves_the_range_is_refused_and_the_old_file_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(path, {"a": torch.ones(1)}, CONFIG)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="a leaves the range of float16"):
        save_weights(path, {"a": torch.full((2,), 1e5)}, CONFIG, half=True)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(tmp_path / "none" / "x.safetensors", {"a": torch.ones(1)}, CONFIG)


def test_everyone_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(2)}, {})
    assert path.stat().st_mode & 0o777 == 0o644
