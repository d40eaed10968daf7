"""Measured speed: kept by machine and model, harmless where the cache is not."""

from __future__ import annotations

import json
import time

import pytest

import upframe
from e2e_support import InProcess
from media_factory import write_clip
from upframe.engine.backends.local import run
from upframe.engine.models import resolve_model
from upframe.engine.options import Options
from upframe.engine.prepare import prepare
from upframe.engine.speed import (
    known_speed,
    machine_key,
    measure_speed,
    remember_speed,
)
from upframe.runtimes.registry import open_runtime

KEY = {"model": "a", "precision": "int8", "threads": 2, "keep ratio": None}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "upframe" / "speed"


def test_what_was_measured_is_known_by_all_that_decides_it(cache):
    assert known_speed(KEY) is None
    remember_speed(KEY, 0.25)
    assert known_speed(KEY) == 0.25
    for name, value in (("model", "b"), ("precision", "fp32"), ("threads", 1)):
        assert known_speed({**KEY, name: value}) is None
    remember_speed(KEY, 0.5)
    assert known_speed(KEY) == 0.5
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"seconds_per_megapixel": "x"}']
    + [
        json.dumps({"key": key, "seconds_per_megapixel": value, "measured_at": at})
        for key, value, at in (
            ({}, 1.0, time.time()),
            (KEY, -1.0, time.time()),
            (KEY, float("nan"), time.time()),
            (KEY, 1.0, time.time() - 30 * 24 * 3600),
            (KEY, 1.0, time.time() + 30 * 24 * 3600),
            (KEY, 1.0, None),
        )
    ],
)
def test_a_damaged_or_old_cache_is_ignored(cache, text):
    remember_speed(KEY, 0.25)
    (path,) = cache.iterdir()
    path.write_text(text)
    assert known_speed(KEY) is None


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember_speed(KEY, 0.25)
    assert known_speed(KEY) is None


def test_a_model_is_measured_and_a_huge_one_is_not():
    model = resolve_model("balanced", "bicubic")

    def opened():
        return open_runtime(model.card, model.files)

    assert 0 < measure_speed(model.card, 1, opened) < 100

    def never():
        raise AssertionError

    huge = model.card.model_copy(update={"gflops_per_megapixel": 1e7})
    assert measure_speed(huge, 1, never) is None


def test_the_key_names_the_machine():
    key = machine_key()
    assert key["cpu"]
    assert key["cores"] >= 1


def test_only_plans_that_are_shown_are_measured(tmp_path, monkeypatch, capsys, cache):
    clip = write_clip(tmp_path / "in.mp4", frames=3, size=(32, 24))
    upframe.upscale(clip, tmp_path / "a.mp4", model="bicubic")
    assert not cache.exists()
    cli = InProcess(monkeypatch, capsys)
    line = (clip, "-o", tmp_path / "b.mp4", "--model", "bicubic", "--json")
    assert cli(*line).events[0]["measured"] is False
    (tmp_path / "b.mp4").unlink()
    assert cli(*line, "--dry-run").events[0]["measured"] is True
    # what is known costs nothing, so every later plan has it
    assert cli(*line).events[0]["measured"] is True


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mia-vsr-xs", "mia-vsr-s"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("chunk_frames", [None, 8])
def test_the_estimate_is_within_half_of_the_time(
    model, precision, chunk_frames, tmp_path, request
):
    """Measure, run, measure: the machine may be busier at one end than at the other."""
    clip = request.config.rootpath / "assets" / "demo" / "clip.mp4"
    options = Options(
        model=model,
        precision=precision,
        chunk_frames=chunk_frames,
        device="cpu",
        overwrite=True,
        fresh=True,
    )

    def estimate(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / folder))
            job = prepare(clip, tmp_path / "out.mp4", options, measure_from=0)
        job.close()
        return job.plan.seconds

    before = estimate("before")
    report = run(prepare(clip, tmp_path / "out.mp4", options))
    after = estimate("after")
    found = (before + after) / 2
    print(f"{model} {precision} {chunk_frames}: {found:.1f} s, {report.seconds:.1f} s")
    assert found / 1.5 < report.seconds < found * 1.5
