"""A folder of photographs and videos becomes a pack that recipes train on."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def _call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_a_recipe_trains_on_a_pack(tmp_path: Path, clip: Callable[..., Path]) -> None:
    source = tmp_path / "own"
    (source / "deeper").mkdir(parents=True)
    random = np.random.default_rng(1)
    for name, side in (("a.png", 320), ("deeper/b.jpg", 300), ("icon.png", 40)):
        pixels = random.integers(0, 256, (side, side + 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / name)
    clip("own/one.mp4", frames=8, size=(288, 320))
    clip("own/deeper/two.mp4", frames=8, size=(288, 320))
    data = tmp_path / "data"
    packed = _call("scripts/make_pack.py", source, "-o", data, "--reduce", 2)
    assert packed.returncode == 0, packed.stderr
    assert "4 photographs and clips, 1 of them held out, 1 too small" in packed.stdout
    manifest = (data / "train_pack" / "manifest.csv").read_text()
    rows = list(csv.DictReader(manifest.splitlines()))
    assert [(r["width"], r["height"], r["frames"]) for r in rows] == [
        ("170", "160", "1"),
        ("160", "150", "1"),
        *[("144", "160", "8")] * 2,
    ]
    for row in rows:
        assert Path(row["source"]).is_file()
        assert (data / row["file"]).exists()
    trained = _call(
        *("-m", "upframe", "train", "recipes/mia-vsr-xs.yaml", "--data", data),
        *("--set", f"runs={tmp_path}/runs", "--set", f"data.cache={tmp_path}/cache"),
        *("--set", "optimiser.steps=1", "--set", "data.batch=1"),
        *("--set", "data.frames=2", "--set", "data.val_frames=2"),
        *("--set", "data.patch=16", "--threads", 1),
    )
    assert trained.returncode == 0, trained.stderr
    assert "finished at step 1" in trained.stderr
    assert (tmp_path / "runs" / "mia-vsr-xs" / "last.ckpt").is_file()
    log = (tmp_path / "runs" / "mia-vsr-xs" / "log.jsonl").read_text()
    assert "mia-vsr-xs-still.ckpt" in log  # the start, found by its name
    assert '"val"' in log


def test_nothing_to_pack(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    packed = _call("scripts/make_pack.py", tmp_path / "empty", "-o", tmp_path / "data")
    assert packed.returncode == 1
    assert "No photographs or videos" in packed.stderr
    assert not (tmp_path / "data").exists()


def test_missing_data_is_named(tmp_path: Path) -> None:
    failed = _call(
        *("-m", "upframe", "train", "recipes/mia-vsr-xs-still.yaml"),
        *("--data", tmp_path / "none", "--set", f"runs={tmp_path}/runs"),
    )
    assert failed.returncode == 1
    assert str(tmp_path / "none" / "train_pack" / "images") in failed.stderr
    assert "--data" in failed.stderr
    assert "docs/datasets.md" in failed.stderr
