"""Protocols: published numbers, averaging, and data that does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from material import reference
from upframe.cli.main import main
from upframe.datasets.images import read_image
from upframe.degradations.bicubic import bicubic_down, to_uint8
from upframe.errors import InputError, UsageError
from upframe.evaluation.evaluate import evaluate
from upframe.metrics import psnr
from upframe.nn.resize import imresize


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for clip, frames in (("a", 3), ("b", 1)):
        (tmp_path / "gt" / clip).mkdir(parents=True)
        for number in range(frames):
            small = rng.random((9, 12, 3))
            picture = to_uint8(imresize(small, size=(50, 67)))
            Image.fromarray(picture).save(tmp_path / "gt" / clip / f"{number}.png")
    return tmp_path


def test_bicubic_by_hand(clips: Path) -> None:
    report = evaluate(model="bicubic", data=clips, protocol="vid4", metrics=["psnr"])
    means = []
    for clip in ("a", "b"):
        scores = []
        for file in sorted((clips / "gt" / clip).iterdir()):
            high = read_image(file)[:48, :64]
            low = bicubic_down(high, 4)
            scores.append(psnr(to_uint8(imresize(low / 255.0, 4)), high))
        means.append(np.mean(scores))
    assert report.mean["psnr"] == pytest.approx(np.mean(means), abs=0.01)
    assert [(c.name, c.frames) for c in report.clips] == [("a", 3), ("b", 1)]


def test_frames_and_the_middle_frame(clips: Path) -> None:
    first = evaluate(model="bicubic", data=clips, protocol="vid4", frames=2)
    assert [c.frames for c in first.clips] == [2, 1]
    middle = evaluate(model="bicubic", data=clips, protocol="vimeo90k")
    assert [c.frames for c in middle.clips] == [1, 1]


def test_given_low_resolution_frames_are_used(clips: Path) -> None:
    for file in sorted((clips / "gt" / "b").iterdir()):
        (clips / "lq" / "b").mkdir(parents=True)
        grey = np.full((12, 16, 3), 128, np.uint8)
        Image.fromarray(read_image(file)[:48, :64]).save(file)
        Image.fromarray(grey).save(clips / "lq" / "b" / file.name)
    made = evaluate(model="bicubic", data=clips, protocol="vid4")
    assert made.clips[1].scores["psnr"] < made.clips[0].scores["psnr"]


def test_the_network_beats_bicubic_on_set5() -> None:
    data = reference("data/sisr/Set5")
    ours, bicubic = (
        evaluate(model=m, data=data, protocol="sisr") for m in ("ditn-s", "bicubic")
    )
    assert bicubic.mean["psnr"] == pytest.approx(28.43, abs=0.01)
    assert ours.mean["psnr"] > bicubic.mean["psnr"] + 0.8


@pytest.mark.slow
def test_the_authors_weights_reach_their_score_on_set5() -> None:
    report = evaluate(
        model=str(reference("weights/ditn/DITN_Real_x4.pth")),
        data=reference("data/sisr/Set5"),
        protocol="sisr",
        metrics=["psnr"],
    )
    assert report.mean["psnr"] == pytest.approx(32.10, abs=0.005)


def test_the_authors_weights_on_one_picture(tmp_path: Path) -> None:
    weights = reference("weights/ditn/DITN_Real_x4.pth")
    shutil.copy(reference("data/sisr/Set5/butterfly.png"), tmp_path)
    report = evaluate(model=str(weights), data=tmp_path, protocol="sisr")
    assert report.model == "DITN_Real_x4"
    assert report.mean["psnr"] == pytest.approx(28.554, abs=0.005)
    assert report.mean["ssim"] == pytest.approx(0.9244, abs=0.0005)


@pytest.mark.slow
def test_bicubic_on_vid4_is_near_published_tables() -> None:
    report = evaluate(model="bicubic", data=reference("data/vid4"), protocol="vid4")
    assert [(clip.name, clip.frames) for clip in report.clips] == [
        ("calendar", 24),
        ("city", 24),
    ]
    # tables have about 20.4 and 25.2 dB for all frames without a border
    assert report.clips[0].scores["psnr"] == pytest.approx(20.4, abs=0.2)
    assert report.clips[1].scores["psnr"] == pytest.approx(25.2, abs=0.25)


def test_real_footage_is_run_and_timed_but_not_scored(clips: Path) -> None:
    for data in (clips / "gt", clips / "gt" / "a"):
        report = evaluate(model="lanczos", data=data, protocol="real", frames=2)
        assert report.clips[0].name == "a"
        assert (report.clips[0].frames, report.clips[0].scores) == (2, {})
        assert report.to_dict()["mean"] == {}
        assert report.ms_per_frame > 0
    with pytest.raises(UsageError, match="no ground truth for psnr") as caught:
        evaluate(model="lanczos", data=clips, protocol="real", metrics=["psnr"])
    assert "checkerboard, niqe, ewarp" in str(caught.value)


def test_clips_may_lie_in_folders_of_folders(clips: Path) -> None:
    (clips / "gt" / "00001").mkdir()
    (clips / "gt" / "a").rename(clips / "gt" / "00001" / "0266")
    report = evaluate(model="bicubic", data=clips, protocol="vimeo90k")
    assert [clip.name for clip in report.clips] == ["00001/0266", "b"]
    with pytest.raises(UsageError, match="middle frame"):
        evaluate(model="bicubic", data=clips, protocol="vimeo90k", frames=2)


def test_reds4_counts_its_four_clips_alone_in_rgb(clips: Path) -> None:
    (clips / "gt" / "a").rename(clips / "gt" / "011")
    report = evaluate(model="bicubic", data=clips, protocol="reds4")
    assert [clip.name for clip in report.clips] == ["011"]
    assert "RGB, crop 0" in report.settings
    assert "000, 015, 020 are missing" in report.settings
    (clips / "gt" / "011").rename(clips / "gt" / "240")
    with pytest.raises(InputError, match="none of the clips of reds4"):
        evaluate(model="bicubic", data=clips, protocol="reds4")


def test_equal_pictures_are_null_in_json(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (10, 200, 30)).save(tmp_path / "plain.png")
    Image.new("RGB", (32, 32), (10, 200, 30)).save(tmp_path / "plain.bmp")
    report = evaluate(model="bicubic", data=tmp_path, protocol="sisr")
    assert report.to_dict()["clips"] == {
        "plain.bmp": {"psnr": None, "ssim": 1.0, "frames": 1},
        "plain.png": {"psnr": None, "ssim": 1.0, "frames": 1},
    }


def test_the_command(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*more: str) -> tuple[int, str, str]:
        arguments = ["upframe", "evaluate", "--model", "bicubic", "--data", str(clips)]
        monkeypatch.setattr("sys.argv", [*arguments, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    code, out, err = run(
        *("--protocol", "vid4", "--metrics", "ssim", "--json"),
        *("--report", str(clips / "scores")),
    )
    assert code == 0
    assert read_image(clips / "scores" / "report.png").shape == (312, 1080, 3)
    assert "| a | 3 |" in (clips / "scores" / "report.md").read_text(encoding="utf-8")
    assert json.loads(out)["clips"]["a"].keys() == {"ssim", "frames"}
    code, out, err = run("--protocol", "vid4")
    assert [line.split()[0] for line in out.splitlines()] == ["a", "b", "mean"]
    assert "made from gt" in err
    assert "ssim: structural similarity" in err
    code, out, err = run("--protocol", "vid4", "--metrics", "mos")
    assert (code, out) == (2, "")
    assert "psnr, ssim" in err


def test_the_report_is_json(clips: Path) -> None:
    report = evaluate(model="ditn-s", data=clips, protocol="vid4", frames=1)
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(content) == ["protocol", "model", "mean", "clips", "ms_per_frame"]
    assert content["ms_per_frame"] > 0
    assert content["mean"].keys() == {"psnr", "ssim"}
    assert content["clips"]["a"]["frames"] == 1
    assert "crop 0" in report.settings


def test_data_that_does_not_fit(clips: Path, tmp_path: Path) -> None:
    def run(data: Path, **more: object) -> None:
        arguments: dict[str, object] = {"model": "bicubic", "protocol": "vid4"}
        evaluate(data=data, **(arguments | more))  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="no protocol"):
        run(clips, protocol="vid5")
    with pytest.raises(UsageError, match="no metric"):
        run(clips, metrics=["psnr", "mos"])
    with pytest.raises(UsageError, match="keep ratio"):
        run(clips, keep_ratio=0.5)  # bicubic has no masks
    with pytest.raises(UsageError, match="chunk_frames"):
        run(clips, chunk_frames=0)
    with pytest.raises(UsageError, match="frames"):
        run(clips, frames=0)
    with pytest.raises(InputError, match="no folder gt"):
        run(clips / "gt")
    with pytest.raises(InputError, match="no images"):
        run(clips, protocol="sisr")
    (clips / "lq" / "a").mkdir(parents=True)
    Image.new("RGB", (16, 12)).save(clips / "lq" / "a" / "0.png")
    with pytest.raises(InputError, match="3 frames in gt and 1 in lq"):
        run(clips)
    for number in (1, 2):
        Image.new("RGB", (9, 9)).save(clips / "lq" / "a" / f"{number}.png")
    with pytest.raises(InputError, match="not the model's scale"):
        run(clips)


def _save(folder: Path, names: list[str], size: tuple[int, int] = (32, 48)) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for name in names:
        picture = to_uint8(imresize(rng.random((8, 12, 3)), size=size))
        Image.fromarray(picture).save(folder / name)


def test_reds_and_vimeo90k_as_they_are_downloaded(tmp_path: Path) -> None:
    for clip in ("000", "001", "020"):
        _save(tmp_path / "reds/train_sharp" / clip, ["0.png", "1.png"])
        small = tmp_path / "reds/train_sharp_bicubic/X4" / clip
        _save(small, ["0.png", "1.png"], (8, 12))
    report = evaluate(model="bicubic", data=tmp_path / "reds", protocol="reds4")
    assert [clip.name for clip in report.clips] == ["000", "020"]
    assert "taken from lq" in report.settings
    assert "2 clips, 4 frames through the model" in report.settings
    for clip in ("00001/0001", "00001/0266"):
        names = [f"im{k}.png" for k in range(1, 8)]
        _save(tmp_path / "vimeo/sequences" / clip, names)
    (tmp_path / "vimeo/sep_testlist.txt").write_text("00001/0266\n")
    report = evaluate(
        model="bicubic", data=tmp_path / "vimeo", protocol="vimeo90k", metrics=["psnr"]
    )
    middle = read_image(tmp_path / "vimeo/sequences/00001/0266/im4.png")
    result = to_uint8(imresize(bicubic_down(middle, 4) / 255.0, 4))
    assert report.mean["psnr"] == pytest.approx(psnr(result, middle), abs=0.02)
    fast = tmp_path / "sep_fast_testset.txt"
    fast.write_text("00001/0001\n")
    report = evaluate(
        model="bicubic", data=tmp_path / "vimeo", protocol="vimeo90k", meta=fast
    )
    assert [clip.name for clip in report.clips] == ["00001/0001"]


def test_the_low_resolution_side_may_lie_elsewhere(clips: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey"
    for clip, count in (("a", 3), ("b", 1)):
        (grey / clip).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 12)).save(grey / clip / f"{number}.png")
    report = evaluate(model="bicubic", data=clips, protocol="vid4", low=grey)
    made = evaluate(model="bicubic", data=clips, protocol="vid4")
    assert "taken from lq" in report.settings
    assert report.mean["psnr"] < made.mean["psnr"] - 5


def test_real_footage_may_be_a_video(clip: Callable[..., Path], tmp_path: Path) -> None:
    path = clip("in.mkv", frames=5)
    report = evaluate(model="bicubic", data=path, protocol="real", metrics=["ewarp"])
    assert [(c.name, c.frames) for c in report.clips] == [("in.mkv", 5)]
    assert len(report.clips[0].per_frame["ewarp"]) == 4
