"""Precision from the command line: plan, result, resuming, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

import upframe
from media_factory import write_clip
from upframe.engine.store import Store

MODEL = ("--model", "mia-vsr-xs", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movie")
    return write_clip(folder / "in.mp4", frames=3, size=(32, 24))


@pytest.mark.parametrize(
    ("more", "wanted"), [((), "int8"), (("--precision", "fp32"), "fp32")]
)
def test_the_plan_and_the_report_name_it(cli, movie, tmp_path, more, wanted):
    ran = cli(movie, "-o", tmp_path / "out.mkv", *MODEL, *more, "--dry-run")
    assert f"mia-vsr-xs, x4, {wanted}" in ran.out
    ran = cli(movie, "-o", tmp_path / "out.mkv", *MODEL, *more, "--json")
    assert ran.events[0]["precision"] == ran.done["precision"] == wanted


def test_a_run_is_continued_in_its_own_precision_only(
    cli, movie, tmp_path, monkeypatch
):
    """A run that was stopped in float is refused in int8, and the words say why."""
    target = tmp_path / "out.mkv"
    monkeypatch.setattr(Store, "remove", lambda self: None)
    first = cli(movie, "-o", target, *MODEL, "--precision", "fp32")
    assert first.code == 0, first.err
    target.unlink()
    plan = json.loads((tmp_path / ".out.mkv.upframe" / "plan.json").read_text())
    assert plan["fingerprint"]["precision"] == "fp32"
    refused = cli(movie, "-o", target, *MODEL)
    assert refused.code == 1
    assert 'precision was "fp32", now "int8"' in refused.err
    assert cli(movie, "-o", target, *MODEL, "--precision", "fp32").code == 0
    target.unlink()
    assert cli(movie, "-o", target, *MODEL, "--fresh").code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "ditn-s", "--precision", "int8"), "no graphs in int8"),
        ((*MODEL, "--runtime", "torch", "--precision", "int8"), "ONNX Runtime on the"),
        ((*MODEL, "--precision", "fp16"), "torch on CUDA"),
        ((*MODEL, "--precision", "half"), "--precision half is unknown"),
    ],
)
def test_refusals_are_one_sentence(cli, movie, tmp_path, options, words):
    ran = cli(movie, "-o", tmp_path / "out.mkv", *options)
    assert ran.code == 2
    assert words in ran.err
    assert not list(tmp_path.iterdir())


def test_frames_of_a_program(movie):
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3)).astype(np.uint8)
    made = []
    for precision in ("auto", "fp32"):
        with upframe.Upscaler(
            model="mia-vsr-xs", device="cpu", threads=1, precision=precision
        ) as upscaler:
            pictures = [out for frame in frames for out in upscaler.push(frame)]
            made.append(np.stack([*pictures, *upscaler.flush()]).astype(float))
    assert made[0].shape == (3, 96, 128, 3)
    assert 0 < np.abs(made[0] - made[1]).mean() < 3
