"""Every system in one table and one picture, on generated clips and tiny weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from benchmarks import pages
from benchmarks.pareto import contenders as pool
from benchmarks.systems import run
from PIL import Image

from upframe.errors import UsageError
from upframe.evaluation.bench import moving_texture

SIX = {"DITN", "MIA-VSR", "UltraVSR", "OASIS", "LiftVSR", "PatchScaler"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clip of 2 frames, 96x80."""
    folder = tmp_path / "data" / "gt" / "clip"
    folder.mkdir(parents=True)
    for number, frame in enumerate(moving_texture(96, 80, 2)):
        Image.fromarray((frame * 255).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_all_six_systems_take_part() -> None:
    assert set(run.SYSTEMS.values()) == SIX
    names = [one.name for one in run.contenders()]
    assert tuple(names[: len(run.OTHERS)]) == run.OTHERS
    assert set(names[len(run.OTHERS) :]) == set(run.SYSTEMS)


def test_weights_of_a_file_take_the_place_of_bundled_ones() -> None:
    (one,) = run.contenders(["oasis-nano"], {"oasis-nano": "x.safetensors"})
    assert (one.source, one.label) == ("x.safetensors", "oasis-nano (variant of OASIS)")
    with pytest.raises(UsageError, match="bicubic"):
        run.contenders(["nobody"])
    with pytest.raises(UsageError, match="'bicubic'"):
        run.contenders([], {"bicubic": "x.safetensors"})


def test_one_command(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pool, "CACHE", tmp_path / "nothing")
    monkeypatch.setattr("benchmarks.pareto.quality.CACHE", tmp_path / "kept")
    monkeypatch.setattr("upframe.metrics.files.folders", lambda: [tmp_path])
    only = ("bicubic", "animevideov3", "ditn-s", "oasis-nano")
    absent = tmp_path / "absent.safetensors"
    run.main(
        [
            *(f"--only={name}" for name in only), f"--data={data}", "--frames=2",
            "--timed=1", "--rounds=1", "--threads=1", f"--results={tmp_path}",
            f"--weights=oasis-nano={absent}", f"--picture={tmp_path / 'new' / 'p.png'}",
        ]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert f"left out: oasis-nano: The weight file {absent} does not exist" in said
    assert "left out: dists" in said
    found = json.loads((tmp_path / "systems.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in found["entries"]] == ["bicubic", "ditn-s"]
    assert found["metrics"] == list(run.METRICS)
    assert set(found["entries"][0]["mean"]) == {
        *("psnr", "checkerboard", "false_texture", "tof", "ewarp")
    }
    assert list(found["entries"][0]["clips"]) == ["clip-crf23", "clip-crf30"]
    assert {"animevideov3", "oasis-nano", "niqe", "lpips", "dists"} == set(
        found["missing"]
    )
    table = (tmp_path / "systems.md").read_text(encoding="utf-8")
    assert table in said
    head, _, first, second = table.splitlines()[:4]
    assert head.count("|") == first.count("|") == second.count("|")
    assert "DISTS" in head
    assert first.startswith("| bicubic (MATLAB) | resampling | – |")
    with Image.open(tmp_path / "new" / "p.png") as picture:
        # input, two contenders, ground truth
        assert 4 * 96 < picture.width < 5 * 96
        top = np.asarray(picture)[:80]
    with Image.open(data / "gt" / "clip" / "1.png") as truth:
        np.testing.assert_array_equal(top[:, -96:], np.asarray(truth))


def test_no_clips(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="There are no clips"):
        run.main([f"--data={tmp_path / 'nothing'}"])
    with pytest.raises(SystemExit, match="NAME=FILE"):
        run.main([f"--data={tmp_path}", "--weights=oasis-nano"])


def test_pages_have_the_marks_that_results_go_between(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(pages.README.read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("systems", "diffusion"):
        pages.fill(page, name, f"The results of {name}.")
        pages.fill(page, name, f"New results of {name}.")
    text = page.read_text(encoding="utf-8")
    assert "New results of systems." in text
    assert "The results of" not in text
    with pytest.raises(ValueError, match="nothing"):
        pages.fill(page, "nothing", "")
