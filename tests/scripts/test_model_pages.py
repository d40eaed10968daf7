"""Which weights are better, and the curve by frame number on a model's page."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import Any

import frame_curve
import model_page
import pytest
import shipping

from upframe.weights.card import ModelCard

GOOD = {"dists": 0.2, "checkerboard": 1.0, "false_texture": -8.0}


@pytest.mark.parametrize(
    ("changed", "better"),
    [
        ({"dists": 0.19}, True),
        ({"dists": 0.21}, False),
        # within the limits nothing is gained by fewer artifacts
        ({"dists": 0.19, "checkerboard": 1.9}, True),
        ({"dists": 0.10, "checkerboard": 2.1}, False),
        ({"dists": 0.10, "false_texture": -5.0}, False),
    ],
)
def test_artifacts_are_not_paid_for_by_a_score(
    changed: dict[str, float], better: bool
) -> None:
    assert shipping.RESTORATION.better({**GOOD, **changed}, GOOD) == better


def test_what_is_above_a_limit_may_come_down() -> None:
    poor = {**GOOD, "checkerboard": 7.9}
    assert shipping.RESTORATION.better({**GOOD, "dists": 0.19}, poor)
    assert not shipping.RESTORATION.better({**poor, "dists": 0.21}, poor)


def test_weights_that_were_scored_otherwise_are_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = shipping.RESTORATION
    asked: list[Any] = []

    def score(name: str, sets: list[Any], frames: int | None) -> dict[str, Any]:
        asked.append((name, [test.name for test in sets]))
        return {judge.test_set: GOOD}

    monkeypatch.setattr(shipping, "FILES", tmp_path)
    monkeypatch.setattr(shipping, "score", score)
    (tmp_path / "m.json").write_text(json.dumps({"scores": {"val_real": {}}}))
    sets = shipping.web_sets(tmp_path)
    new = {judge.test_set: {**GOOD, "dists": 0.1}}
    shipping.require_better("m", new, judge, sets)
    assert asked == [("m", [judge.test_set])]
    with pytest.raises(SystemExit, match="no better than what ships"):
        shipping.require_better("m", {judge.test_set: GOOD}, judge, sets)
    shipping.require_better("new", new, judge, sets)


def test_the_curve_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_page, "ROOT", tmp_path)
    card = ModelCard(
        name="m", system="s", scale=4, summary="", licence="MIT", lookahead=1
    )
    file = tmp_path / "m-by-frame.csv"
    assert "Not measured yet" in model_page.frames_section(card, file)[2]
    values = {
        "psnr": [30.0 + k / 100 for k in range(101)],
        "ewarp": [nan] + [2.0] * 100,
    }
    frame_curve.write_frames(file, values, "web: x4, all that decides")
    lines = model_page.frames_section(card, file)
    assert lines[2].startswith("web: x4, all that decides. The same frame comes again")
    assert "101 show what frame 5 shows" in lines[2]
    assert lines[4] == "| frame | PSNR-Y | warping error |"
    assert lines[6] == "| 1 | 30.00 | – |"
    assert "| 101 | 31.00 | 2.00 |" in lines
    image = ModelCard(name="i", system="s", scale=4, summary="", licence="MIT")
    assert model_page.frames_section(image, file) == []
