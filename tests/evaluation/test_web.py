"""The protocol web: clips shrunk by bicubic and compressed by H.264."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from upframe.datasets.frames import Clip, FileFrames
from upframe.datasets.images import read_image
from upframe.degradations.bicubic import bicubic_down, to_uint8
from upframe.evaluation.evaluate import evaluate
from upframe.evaluation.protocols import find_protocol
from upframe.evaluation.web import compressed
from upframe.media.recode import recode
from upframe.metrics import checkerboard, false_texture, lpips, psnr
from upframe.nn.resize import imresize

FRAMES = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips of a pan over noise, 130x163."""
    rng = np.random.default_rng(0)
    for clip in ("a", "b"):
        (tmp_path / "gt" / clip).mkdir(parents=True)
        scene = to_uint8(imresize(rng.random((40, 50, 3)), size=(140, 175)))
        for number in range(FRAMES):
            frame = scene[number : number + 130, 2 * number : 2 * number + 163]
            Image.fromarray(frame).save(tmp_path / "gt" / clip / f"{number}.png")
    return tmp_path


def _clip(folder: Path) -> Clip:
    return Clip(folder.name, FileFrames(tuple(sorted(folder.iterdir()))))


def test_each_clip_is_compressed_at_both_crfs(data: Path) -> None:
    given = [_clip(data / "gt" / name) for name in ("a", "b")]
    clips = compressed(given, (23, 30), 4)
    assert [c.name for c in clips] == ["a-crf23", "a-crf30", "b-crf23", "b-crf30"]
    high = np.stack([clips[0].read(k, 4)[1] for k in range(FRAMES)])
    assert high.shape == (FRAMES, 128, 160, 3)
    low = bicubic_down(high, 4)
    for clip, crf in ((clips[0], 23), (clips[1], 30), (clips[0], 23)):
        want = recode(low, "libx264", quality=crf)
        got = np.stack([clip.read(k, 4)[0] for k in range(FRAMES)])
        np.testing.assert_array_equal(got, want)
    apart = [
        np.abs(recode(low, "libx264", quality=c) - 1.0 * low).mean() for c in (23, 30)
    ]
    assert 0 < apart[0] < apart[1]


def test_only_the_frames_that_run_are_compressed(data: Path) -> None:
    (clip,) = compressed([_clip(data / "gt" / "a")], (23,), 4, frames=2)
    high = np.stack([clip.truth(k, 4) for k in range(2)])
    want = recode(bicubic_down(high, 4), "libx264", quality=23)
    np.testing.assert_array_equal(clip.read(1, 4)[0], want[1])


def test_evaluate_with_what_is_at_hand(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    network = lpips.AlexLayers()
    for weight in network.weights():
        weight.data.abs_()
    save_file(network.state_dict(), folder / lpips.FILE)
    report = evaluate(model="bicubic", data=data, protocol="web", metric_weights=folder)
    assert list(report.mean) == ["psnr", "lpips", "checkerboard", "false_texture"]
    assert "without dists, whose weights or torch are not there" in report.settings
    assert "H.264 4:2:0 (x264, defaults) at CRF 23 and 30" in report.settings
    assert "4 clips, 16 frames through the model" in report.settings
    assert "mean over 2 crops without 4, 6 pixels" in report.definitions["lpips"]
    clip = compressed([_clip(data / "gt" / "a")], (30,), 4)[0]
    low, high = clip.read(2, 4)
    assert high is not None
    result = to_uint8(imresize(low / 255.0, 4))
    scores = report.clips[1].per_frame
    assert report.clips[1].name == "a-crf30"
    want = psnr(result, high, crop=4)
    assert scores["psnr"][2] == pytest.approx(want, abs=0.02)
    assert scores["checkerboard"][2] == pytest.approx(checkerboard(result, 4), abs=0.1)
    assert scores["false_texture"][2] == pytest.approx(
        false_texture(result, high), abs=0.1
    )
    means = [clip.scores["psnr"] for clip in report.clips]
    assert means[0] > means[1]
    assert report.mean["psnr"] == pytest.approx(np.mean(means))


def test_given_low_resolution_frames_are_not_compressed_again(data: Path) -> None:
    for clip in ("a", "b"):
        (data / "lq" / clip).mkdir(parents=True)
        for file in (data / "gt" / clip).iterdir():
            high = read_image(file)[:128, :160]
            Image.fromarray(high).save(file)
            small = bicubic_down(high, 4)
            Image.fromarray(small).save(data / "lq" / clip / file.name)
    given = evaluate(model="bicubic", data=data, protocol="web", metrics=["psnr"])
    assert [clip.name for clip in given.clips] == ["a", "b"]
    assert "taken from lq" in given.settings
    assert "H.264" not in given.settings


def test_no_metric_of_it_is_decided_by_training() -> None:
    rules = find_protocol("web")
    assert (rules.crfs, rules.phases) == ((23, 30), 2)
    assert (rules.border(4), rules.channel) == (4, "y")
