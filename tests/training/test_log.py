"""What a run leaves behind: pictures, TensorBoard, and no time beyond its budget."""

from __future__ import annotations

import builtins
import json
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from upframe.errors import MissingExtraError
from upframe.training.loop import train
from upframe.training.recipe import Recipe
from upframe.training.trainer import Trainer
from upframe.training.validation import ValidationSet


def _events(recipe: Recipe) -> list[dict[str, Any]]:
    lines = (recipe.folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("kind", ["tree", "clip_tree"])
def test_sample_pictures(kind: str, request: pytest.FixtureRequest) -> None:
    tree = request.getfixturevalue(kind)
    tree["optimiser"]["steps"] = 8
    tree["samples"] = 1
    recipe = Recipe.model_validate(tree)
    train(recipe)
    files = list((recipe.folder / "samples").iterdir())
    assert [file.name for file in files] == ["00000008-one.png"]
    sample = np.asarray(Image.open(files[0]))
    bicubic, result, original = np.split(sample.astype(int), 3, axis=1)
    assert tree["data"]["val"] is not None
    frame = 1 if kind == "clip_tree" else 0
    source = np.asarray(Image.open(tree["data"]["val"] / "one" / f"{frame}.png"))
    assert np.array_equal(original, source)
    assert 0 < np.abs(bicubic - original).mean() < np.abs(result - original).mean()


def test_tensorboard_has_what_the_log_has(tree: dict[str, Any]) -> None:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    tree["tensorboard"] = True
    recipe = Recipe.model_validate(tree)
    train(recipe)
    board = event_accumulator.EventAccumulator(str(recipe.folder / "tensorboard"))
    board.Reload()
    for event, name in (("train", "loss"), ("val", "psnr_y")):
        want = [(x["step"], x[name]) for x in _events(recipe) if x["event"] == event]
        got = [(x.step, x.value) for x in board.Scalars(f"{event}/{name}")]
        assert len(got) > 1
        assert got == [(step, pytest.approx(value)) for step, value in want]
    assert set(board.Tags()["images"]) == {"one", "two"}


def test_tensorboard_that_is_not_there(
    tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"upframe\[train\]"):
        train(Recipe.model_validate(tree | {"tensorboard": True}))


def test_the_time_holds_validation_and_saving(
    tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that says: 0.6 s to score a clip, 0.5 s to save, 0.05 s for a step."""
    now = [1000.0]
    tree["optimiser"]["steps"] = 100_000
    tree["val_every"] = 5
    tree["checkpoint_minutes"] = 0.01
    recipe = Recipe.model_validate(tree)
    score, save, step = ValidationSet._score, Trainer.save, Trainer.train_step

    def slow_score(self: ValidationSet, upscale: Any, *rest: Any) -> Any:
        def slow(clip: Any) -> Any:
            now[0] += 0.6 if rest[0] else 0  # the baseline has no samples
            return upscale(clip)

        return score(self, slow, *rest)

    def slow_save(self: Trainer, path: Any) -> None:
        now[0] += 0.5
        save(self, path)

    def slow_step(self: Trainer, batch: Any) -> dict[str, float]:
        now[0] += 0.05
        return step(self, batch)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ValidationSet, "_score", slow_score)
    monkeypatch.setattr(Trainer, "save", slow_save)
    monkeypatch.setattr(Trainer, "train_step", slow_step)
    report = train(recipe, minutes=3.5 / 60)
    assert 3.3 < report.seconds <= 3.5
    assert (recipe.folder / "last.ckpt").exists()
    events = [line["event"] for line in _events(recipe)]
    assert events.count("val") == 1
    assert events.count("val_skipped") >= 1
