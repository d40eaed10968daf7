"""Score by frame number: longer clips, the curve, and what recurrent models carry."""

from __future__ import annotations

import json
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from material import reference
from upframe.cli.main import main
from upframe.degradations.bicubic import to_uint8
from upframe.errors import UsageError
from upframe.evaluation.by_frame import bounced, curve, marked
from upframe.evaluation.evaluate import evaluate
from upframe.evaluation.report import to_json, to_markdown
from upframe.nn.resize import imresize

DISTINCT = 13
"""Frames of a clip. The same frame comes again in the same direction after 24, so
frame 101 shows what frame 5 shows."""
EARLY, LATE = 5, 101


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Clips of 3 and 4 frames, every frame with other scores."""
    rng = np.random.default_rng(0)
    for clip, frames in (("a", 3), ("b", 4)):
        (tmp_path / "gt" / clip).mkdir(parents=True)
        for number in range(frames):
            frame = to_uint8(imresize(rng.random((9 + number, 12, 3)), size=(48, 64)))
            Image.fromarray(frame).save(tmp_path / "gt" / clip / f"{number}.png")
    return tmp_path


def test_forwards_and_backwards() -> None:
    assert [bounced(k, 4) for k in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [bounced(k, 2) for k in range(4)] == [0, 1, 0, 1]
    assert [bounced(k, 1) for k in range(3)] == [0, 0, 0]
    assert bounced(EARLY - 1, DISTINCT) == bounced(LATE - 1, DISTINCT)
    assert bounced(EARLY, DISTINCT) == bounced(LATE, DISTINCT)


def test_the_curve_is_the_mean_at_each_frame() -> None:
    first = {"psnr": (30.0, 32.0, nan), "tof": (1.0, 2.0)}
    second = {"psnr": (34.0, nan, nan), "tof": (3.0, nan)}
    means = curve(("psnr", "tof", "vmaf"), [first, second], 3)
    assert list(means) == ["psnr", "tof"]
    assert means["psnr"][:2] == (32.0, 32.0)
    assert isnan(means["psnr"][2])
    # metrics of two frames begin with the second
    assert isnan(means["tof"][0])
    assert means["tof"][1:] == (2.0, 2.0)


def test_short_clips_are_run_forwards_and_backwards(data: Path) -> None:
    plain = evaluate(model="bicubic", data=data, protocol="vid4", metrics=["psnr"])
    report = evaluate(
        model="bicubic", data=data, protocol="vid4", metrics=["psnr", "tof"], by_frame=7
    )
    a, b = (clip.per_frame["psnr"] for clip in plain.clips)
    want = [(a[bounced(k, 3)] + b[bounced(k, 4)]) / 2 for k in range(7)]
    assert report.by_frame["psnr"] == pytest.approx(want)
    assert len(report.by_frame["tof"]) == 7
    assert "clips of 3 to 4 frames run forwards and backwards" in report.settings
    content = report.to_dict()
    assert content["frames"]["psnr"] == pytest.approx(want, abs=1e-6)
    assert content["frames"]["tof"][0] is None
    assert to_json(report)["frames"] == content["frames"]
    table = to_markdown(report)
    assert "Mean over the clips by frame number" in table
    assert f"| 7 | 2 | {want[6]:.4f} |" in table
    assert "frames" not in plain.to_dict()


def test_frames_limits_what_is_repeated(data: Path) -> None:
    arguments = {"model": "bicubic", "data": data, "protocol": "vid4"}
    report = evaluate(metrics=["psnr"], frames=2, by_frame=5, **arguments)  # type: ignore[arg-type]
    scores = report.clips[0].per_frame["psnr"]
    assert scores[0] == scores[2] == scores[4] != scores[1]
    assert "clips of 2 frames run" in report.settings
    enough = evaluate(metrics=["psnr"], by_frame=3, **arguments)  # type: ignore[arg-type]
    assert "backwards" not in enough.settings


def test_compression_sees_the_longer_clip(data: Path) -> None:
    report = evaluate(
        model="bicubic", data=data, protocol="web", metrics=["psnr"], by_frame=9
    )
    assert [clip.frames for clip in report.clips] == [9] * 4
    assert len(report.by_frame["psnr"]) == 9


def test_it_needs_clips(data: Path) -> None:
    with pytest.raises(UsageError, match="scores single frames"):
        evaluate(model="bicubic", data=data, protocol="vimeo90k", by_frame=5)
    with pytest.raises(UsageError, match="by_frame=0 is too small"):
        evaluate(model="bicubic", data=data, protocol="vid4", by_frame=0)


def test_a_short_table_of_a_long_curve() -> None:
    assert marked({"psnr": (0.0,) * 100})[-3:] == (60, 80, 100)
    assert marked({"psnr": (0.0,) * 7}) == (1, 2, 3, 5, 7)
    assert marked({}) == ()


def test_the_command(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*more: str) -> str:
        arguments = ["upframe", "evaluate", "--model", "bicubic", "--data", str(data)]
        options = ["--protocol", "vid4", "--metrics", "psnr", "--by-frame", "6"]
        monkeypatch.setattr("sys.argv", [*arguments, *options, *more])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    assert len(json.loads(run("--json"))["frames"]["psnr"]) == 6
    lines = [line.split()[:2] for line in run().splitlines()]
    assert ["frame", "6"] in lines


def _drift(values: tuple[float, ...]) -> float:
    """Mean of frames 100 to 102 less that of frames 4 to 6, which show the same."""
    return float(np.mean(values[LATE - 2 : LATE + 1]) - np.mean(values[3:6]))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fast", "balanced", "best", "restore"])
def test_frame_100_scores_as_frame_5(model: str) -> None:
    """Whatever the level of its artifacts, a recurrent model does not add to them."""
    report = evaluate(
        model=model,
        data=reference("data/vid4"),
        protocol="web",
        metrics=["psnr", "checkerboard", "false_texture"],
        frames=DISTINCT,
        by_frame=LATE + 4,  # the last frames of a clip are compressed otherwise
    )
    drifts = {name: _drift(values) for name, values in report.by_frame.items()}
    assert drifts["psnr"] > -0.3
    assert drifts["checkerboard"] < 1
    assert drifts["false_texture"] < 1
