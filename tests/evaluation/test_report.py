"""The written report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from upframe.datasets.images import read_image
from upframe.errors import OutputError
from upframe.evaluation.evaluate import ClipScore, EvaluationReport
from upframe.evaluation.plot import write_plot
from upframe.evaluation.report import to_markdown, write_report

INF, NAN = float("inf"), float("nan")
REPORT = EvaluationReport(
    protocol="vid4",
    model="bicubic",
    settings="vid4: x4",
    mean={"psnr": INF, "tof": 0.25},
    clips=(
        ClipScore(
            "a|b", 2, {"psnr": 30.5, "tof": 0.25}, {"psnr": (30, 31), "tof": (0.25,)}
        ),
        ClipScore("c", 1, {"psnr": INF, "tof": NAN}, {"psnr": (INF,), "tof": ()}),
    ),
    ms_per_frame=1.25,
    definitions={"psnr": "decibels", "tof": "pixels"},
)


def test_the_table() -> None:
    lines = to_markdown(REPORT).splitlines()
    assert lines[0] == "# bicubic, vid4"
    assert lines[2:7] == [
        "| clip | frames | psnr | tof |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b | 2 | 30.5000 | 0.2500 |",
        "| c | 1 | inf | – |",
        "| **mean** | 3 | inf | 0.2500 |",
    ]
    assert lines[-2:] == ["- psnr: decibels", "- tof: pixels"]


def test_both_files(tmp_path: Path) -> None:
    for _ in range(2):
        table, numbers = write_report(REPORT, tmp_path / "deep" / "report")
    assert table.read_text(encoding="utf-8") == to_markdown(REPORT, "report.png")
    assert table.read_text(encoding="utf-8").endswith("(report.png)\n")
    content = json.loads(numbers.read_text())
    assert content.items() >= REPORT.to_dict().items()
    assert content["per_frame"]["c"] == {"psnr": [None], "tof": []}
    assert content["definitions"] == {"psnr": "decibels", "tof": "pixels"}
    assert sorted(p.name for p in table.parent.iterdir()) == [
        "report.json",
        "report.md",
        "report.png",
    ]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(REPORT, tmp_path / "report")


def _colours(path: Path) -> set[tuple[int, ...]]:
    """Of the lines: saturated pixels."""
    pixels = read_image(path).reshape(-1, 3).astype(int)
    saturated = pixels[np.ptp(pixels, axis=1) > 120]
    colours, counts = np.unique(saturated, axis=0, return_counts=True)
    return {tuple(c) for c, n in zip(colours.tolist(), counts, strict=True) if n > 80}


def _report(**clips: tuple[float, ...]) -> EvaluationReport:
    scores = tuple(
        ClipScore(name, len(v), {"psnr": v[0]}, {"psnr": v})
        for name, v in clips.items()
    )
    return EvaluationReport("vid4", "bicubic", "", {"psnr": 30.0}, scores, 1.0)


def test_the_plot_has_a_line_for_each_clip(tmp_path: Path) -> None:
    one, two = tmp_path / "1.png", tmp_path / "2.png"
    assert write_plot(_report(a=(20.0, 21.0, INF, 25.0, 24.0)), one)
    assert write_plot(_report(a=(20.0, 21.0, 22.0), b_c=(30.0, 31.0, 32.0)), two)
    assert read_image(one).shape == (312, 1080, 3)
    assert len(_colours(two)) == len(_colours(one)) + 1


def test_single_pictures_share_one_line(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    assert write_plot(_report(a=(20.0,), b=(21.0,), c=(26.0,)), path)
    assert len(_colours(path)) == 1


def test_nothing_scored_draws_nothing(tmp_path: Path) -> None:
    nothing = EvaluationReport("real", "m", "", {}, (ClipScore("a", 2, {}),), 1.0)
    (tmp_path / "report.png").touch()
    table, _ = write_report(nothing, tmp_path)
    assert not (tmp_path / "report.png").exists()
    assert "png" not in table.read_text(encoding="utf-8")
