"""The written report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from upframe.errors import OutputError
from upframe.evaluation.evaluate import ClipScore, EvaluationReport
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
    assert table.read_text(encoding="utf-8") == to_markdown(REPORT)
    content = json.loads(numbers.read_text())
    assert content.items() >= REPORT.to_dict().items()
    assert content["per_frame"]["c"] == {"psnr": [None], "tof": []}
    assert content["definitions"] == {"psnr": "decibels", "tof": "pixels"}
    assert sorted(p.name for p in table.parent.iterdir()) == [
        "report.json",
        "report.md",
    ]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(REPORT, tmp_path / "report")
