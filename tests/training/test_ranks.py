"""Two processes with half of each batch do what one does with the whole."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from upframe.errors import UsageError
from upframe.training.batches import Samples
from upframe.training.loop import train
from upframe.training.ranks import Ranks
from upframe.training.recipe import Recipe


def _free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


def test_two_processes_are_one(tree: dict[str, Any], tmp_path: Path) -> None:
    tree["optimiser"] |= {
        "steps": 4,
        "lr": 1e-3,
        "loss": [{"name": "l1"}, {"name": "gan", "channels": 4}],
    }
    tree["log_every"] = 1
    alone = Recipe.model_validate(tree)
    want = torch.load(train(alone).checkpoint, weights_only=True)

    both = alone.model_copy(update={"runs": tmp_path / "both"})
    path = tmp_path / "both.yaml"
    path.write_text(both.model_dump_json())
    command = [sys.executable, "-m", "upframe", "train", str(path), "--threads", "1"]
    # as torchrun does
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    processes = [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    got = torch.load(both.folder / "last.ckpt", weights_only=True)
    assert got["step"] == 4
    for kind in ("params", "params_ema"):
        for key, value in want[kind].items():
            torch.testing.assert_close(got[kind][key], value, rtol=1e-4, atol=1e-5)
    logs = [
        [json.loads(line) for line in (r.folder / "log.jsonl").read_text().splitlines()]
        for r in (alone, both)
    ]
    assert [line["event"] for line in logs[0]] == [line["event"] for line in logs[1]]
    for one, two in zip(*logs, strict=True):
        for name in one:
            if name.startswith(("loss", "psnr")):
                assert two[name] == pytest.approx(one[name], rel=1e-3), name


def test_shares_are_the_batch(tree: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(tree)
    whole = Samples(recipe.data, 4, 0)[3]
    parts = [
        Samples(recipe.data, 4, 0, Ranks(rank, 2).share(4))[3] for rank in range(2)
    ]
    for side in range(2):
        assert torch.equal(whole[side], torch.cat([part[side] for part in parts]))
    with pytest.raises(UsageError, match="cannot be shared by 3"):
        Ranks(0, 3).share(4)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Ranks.of_environment() == Ranks()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="torchrun"):
        Ranks.of_environment()
