"""The comparison from clips to table and picture, on generated clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from benchmarks.pareto import contenders, quality, run
from benchmarks.pareto.compare import compare
from benchmarks.pareto.contenders import Contender, choose
from benchmarks.pareto.cost import Worker, measure
from benchmarks.pareto.outcome import Entry, Outcome
from benchmarks.pareto.plot import draw, front
from benchmarks.pareto.quality import (
    RULES,
    SCALE,
    SELDOM,
    Metrics,
    Quality,
    available,
    read_clips,
    restored,
    score,
    score_all,
)
from benchmarks.pareto.sheet import contact_sheet
from PIL import Image

from upframe.errors import RuntimeFailure, UpframeError
from upframe.evaluation.bench import moving_texture
from upframe.evaluation.evaluate import evaluate


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, size in (("a", (96, 80)), ("b", (64, 96))):
        folder = tmp_path / "data" / "gt" / name
        folder.mkdir(parents=True)
        for number, frame in enumerate(moving_texture(*size, 3)):
            picture = (frame * 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"{number}.png")
    return tmp_path / "data"


def entry(name: str, ms: float, psnr: float, ours: bool = False) -> Entry:
    mean = {"psnr": psnr, "ssim": 0.7, "tof": 0.3}
    return Entry(name, f"the {name}", ours, "onnx", 0.1, mean, {"a": mean}, ms, 99.4)


def test_scores_are_those_of_evaluate_with_a_border(data: Path, tmp_path: Path) -> None:
    metrics = Metrics(["psnr"])
    (bicubic,) = choose(["bicubic"])
    ours = score(bicubic, read_clips(data, 9), metrics, 1, tmp_path).mean["psnr"]
    whole = evaluate(model="bicubic", data=data, protocol="vid4", metrics=["psnr"])
    assert RULES.border(SCALE) == 4
    assert ours == pytest.approx(whole.mean["psnr"], abs=1.5)
    assert ours != pytest.approx(whole.mean["psnr"], abs=1e-6)


def test_scores_are_kept_until_something_changes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(["psnr"])
    (bicubic,) = choose(["bicubic"])
    first = score(bicubic, read_clips(data, 2), metrics, 1, tmp_path)

    def closed(self: Contender, threads: int) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(Contender, "open", closed)
    assert score(bicubic, read_clips(data, 2), metrics, 1, tmp_path) == first
    with pytest.raises(AssertionError, match="opened"):
        score(bicubic, read_clips(data, 3), metrics, 1, tmp_path)
    others = Metrics(["psnr", "ssim"])
    with pytest.raises(AssertionError, match="opened"):
        score(bicubic, read_clips(data, 2), others, 1, tmp_path)


def test_slow_metrics_look_at_a_few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "_SLOW", ("psnr",))
    metrics = Metrics(["psnr", "ssim"])
    truths = [(frame * 255).astype(np.uint8) for frame in moving_texture(40, 40, 6)]
    others = [255 - frame for frame in truths]
    spoilt = [truths[0], *others[1:4], truths[4], others[5]]
    scores = metrics.score(iter(spoilt), truths)
    assert list(scores) == ["psnr", "ssim"]
    assert scores["psnr"] == float("inf")  # frames 0 and 4 are good
    assert scores["ssim"] < 0.9
    assert f"every {SELDOM}th frame" in metrics.definitions["psnr"]
    assert "every" not in metrics.definitions["ssim"]


def test_frames_that_never_come_or_are_too_many() -> None:
    metrics = Metrics(["psnr"])
    frames = [np.zeros((16, 16, 3), np.uint8)] * 3
    with pytest.raises(RuntimeFailure, match="1 frames never came"):
        metrics.score(frames[:2], frames)
    with pytest.raises(RuntimeFailure, match="More frames"):
        metrics.score(frames, frames[:2])


def test_metrics_without_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upframe.metrics.files.folders", lambda: [tmp_path])
    missing: dict[str, str] = {}
    metrics = available(["psnr", "niqe", "lpips", "dists"], missing)
    assert metrics.names == ("psnr",)
    assert list(missing) == ["niqe", "lpips", "dists"]
    assert "dists_vgg16" in missing["dists"]


def test_samples_are_middle_frames_as_they_came_out(data: Path, tmp_path: Path) -> None:
    (bicubic,) = choose(["bicubic"])
    clips = read_clips(data, 3)
    kept = score(bicubic, clips, Metrics(["psnr"]), 1, tmp_path)
    for clip in clips:
        outputs = list(restored(bicubic.open(1).session(), clip))
        np.testing.assert_array_equal(kept.sample(clip.name), outputs[1])
    # without its samples a kept score is not enough
    Path(kept.samples["a"]).unlink()
    again = score(bicubic, clips, Metrics(["psnr"]), 1, tmp_path)
    assert again.sample("a").shape == clips[0].high[0].shape


def test_processes_give_what_one_gives(data: Path, tmp_path: Path) -> None:
    everyone = choose(["bicubic", "lanczos"])
    broken = Contender("broken", "upframe", str(data / "x.pth"), "Broken")
    clips, metrics = read_clips(data, 2), Metrics(["psnr"])
    found = list(score_all([*everyone, broken], clips, metrics, 2, tmp_path / "two"))
    assert "x.pth does not exist" in str(found[2])
    for one, apart in zip(everyone, found, strict=False):
        assert isinstance(apart, Quality)
        alone = score(one, clips, metrics, 1, tmp_path / "one")
        assert alone.clips == apart.clips


def test_contact_sheet() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    panels = [
        (name, np.full((50, 70, 3), colour, np.uint8))
        for name, colour in zip("abc", colours, strict=True)
    ]
    sheet = np.asarray(contact_sheet(panels, side=40, columns=2))
    row = (sheet.shape[0] - 2 * 40) // 2 + 40  # a crop and its label
    gap = sheet.shape[1] - 2 * 40
    assert 0 < gap < 20
    for (down, across), colour in zip(((0, 0), (0, 1), (1, 0)), colours, strict=True):
        top, left = down * row, across * (40 + gap)
        assert (sheet[top : top + 40, left : left + 40] == colour).all()
        label = sheet[top + 40 : top + row, left : left + 40]
        assert (label < 128).any()
        assert (label > 250).any()


def test_costs_come_from_processes_of_their_own() -> None:
    bicubic, network = measure(
        choose(["bicubic", "mia-vsr-xs"]), list(moving_texture(32, 24, 2)), 1, 1
    )
    assert (bicubic.runtime, network.runtime) == ("resampling", "onnx")
    assert network.parameters == 103_187
    assert network.ms_per_frame > bicubic.ms_per_frame > 0
    # only one of them has loaded ONNX Runtime
    assert network.peak_mb > bicubic.peak_mb + 10 > 20


def test_a_contender_that_fails_says_why(tmp_path: Path) -> None:
    absent = Contender("absent", "upframe", str(tmp_path / "x.pth"), "Absent")
    with (
        Worker(absent, list(moving_texture(16, 16, 1)), 1) as worker,
        pytest.raises(RuntimeFailure, match=r"absent: .*does not exist"),
    ):
        worker.about()


def test_front() -> None:
    points = [(3.0, 2.0), (1.0, 1.0), (2.0, 1.0), (4.0, 5.0), (1.0, 0.5), (5.0, 4.0)]
    assert front(points) == [(1.0, 1.0), (3.0, 2.0), (4.0, 5.0)]


def test_table() -> None:
    outcome = Outcome(
        {"input": "180x144"},
        [entry("fast", 1.234, 23.456), entry("slow", 123.4, 24.0, ours=True)],
        {"gone": "not there"},
        ("psnr", "ssim", "lpips", "tof"),
    )
    lines = outcome.to_markdown().splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[2] == (
        "| the fast | onnx | 0.10 M | 23.46 | 0.700 | – | 0.300 | 1.23 | 99 MB |"
    )
    assert lines[3].startswith("| **the slow** |")
    assert " 123 |" in lines[3]
    assert "- input: 180x144" in lines
    assert "- not measured: gone: not there" in lines
    assert json.loads(outcome.to_json())["entries"][0]["ms_per_frame"] == 1.234


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    settings = {"data": "clips", "input": "180x144", "threads": 2}
    entries = [entry("a", 1, 22), entry("b", 50, 24, ours=True), entry("c", 51, 24)]
    draw(Outcome(settings, entries, {}, ("psnr",)), tmp_path / "new" / "plot.png")
    with Image.open(tmp_path / "new" / "plot.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    ours = (pixels == (0xD1, 0x49, 0x5B)).all(1).sum()
    others = (pixels == (0x5B, 0x67, 0x70)).all(1).sum()
    assert ours > 100
    assert others > 100


def test_one_command(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(contenders, "CACHE", tmp_path / "nothing")
    monkeypatch.setattr("benchmarks.pareto.quality.CACHE", tmp_path / "kept")
    only = [f"--only={name}" for name in ("mia-vsr-xs", "bicubic", "span-ch48")]
    folder = tmp_path / "results"
    run.main(
        [
            *only, f"--data={data}", "--frames=2", "--timed=1", "--rounds=1",
            "--threads=1", f"--results={folder}", f"--plot={folder / 'plot.png'}",
        ]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "left out: span-ch48" in said
    found = json.loads((folder / "pareto.json").read_text(encoding="utf-8"))
    assert {each["name"] for each in found["entries"]} == {"mia-vsr-xs", "bicubic"}
    assert "span-ch48" in found["missing"]
    assert found["settings"]["input"] == "24x20"
    assert "crop 4" in found["settings"]["protocol"]
    assert (folder / "pareto.md").read_text(encoding="utf-8") in said
    assert (folder / "plot.png").is_file()


def test_nobody_there(data: Path, tmp_path: Path) -> None:
    absent = Contender("x", "ncnn", str(tmp_path / "x.param"), "X")
    with pytest.raises(UpframeError, match="no model to compare"):
        compare(
            [absent],
            data=data,
            metrics=["psnr"],
            frames=1,
            timed=1,
            rounds=1,
            threads=1,
        )
