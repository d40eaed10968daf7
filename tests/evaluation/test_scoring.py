"""Metrics of time and perception through the evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from material import reference
from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError, UsageError, WeightsError
from upframe.evaluation.evaluate import evaluate
from upframe.evaluation.metrics import METRICS, choose_metrics
from upframe.evaluation.protocols import PROTOCOLS, find_protocol
from upframe.evaluation.scoring import Scoring, mean
from upframe.metrics import lpips, psnr
from upframe.metrics.flow import farneback
from upframe.metrics.temporal import tof, warping_error
from upframe.nn.resize import imresize


def _frames(count: int, flicker: float = 0.0) -> list[np.ndarray]:
    """A pan over a texture whose light changes from frame to frame."""
    small = np.random.default_rng(4).random((30, 40, 3)) * 0.8 + 0.1
    scene = imresize(small, size=(120, 160))
    return [
        to_uint8(scene[10:90, 2 * k + 10 : 2 * k + 122] + (k % 2) * flicker)
        for k in range(count)
    ]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for clip, frames in (("a", 3), ("b", 1)):
        (tmp_path / "gt" / clip).mkdir(parents=True)
        for number, frame in enumerate(_frames(frames)):
            Image.fromarray(frame).save(tmp_path / "gt" / clip / f"{number}.png")
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an LPIPS of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    network = lpips.AlexLayers()
    for weight in network.weights():
        weight.data.abs_()
    save_file(network.state_dict(), folder / lpips.FILE)
    return folder


def test_each_protocol_has_the_metrics_that_apply() -> None:
    for name, rules in PROTOCOLS.items():
        fitting = [m.name for m in METRICS.values() if m.applies(rules)]
        assert fitting == {
            "sisr": list(METRICS)[: list(METRICS).index("tof")],
            "vimeo90k": list(METRICS)[: list(METRICS).index("tof")],
            "real": ["checkerboard", "niqe", "ewarp"],
        }.get(name, list(METRICS))
        assert choose_metrics(rules, fitting) == tuple(fitting)
    assert choose_metrics(find_protocol("vid4"), None) == ("psnr", "ssim")
    assert choose_metrics(find_protocol("real"), None) == ()
    with pytest.raises(UsageError, match=r"single images, and tof needs clips"):
        choose_metrics(find_protocol("vimeo90k"), ["psnr", "tof"])


def test_scores_of_a_clip_by_hand(weights: Path) -> None:
    names = ("psnr", "lpips", "tof", "tlp", "ewarp")
    scoring = Scoring(names, find_protocol("vid4"), 4, weights)
    results, truths = _frames(3, flicker=0.05), _frames(3)
    clip = scoring.clip()
    for result, truth in zip(results, truths, strict=True):
        clip.push(result, truth)
    metric = lpips.LPIPS(weights)
    both = list(zip(results, truths, strict=True))
    assert clip.values["psnr"] == [psnr(a, b) for a, b in both]
    assert clip.values["lpips"] == pytest.approx([metric(a, b) for a, b in both])
    pairs = [((*results[k : k + 2],), (*truths[k : k + 2],)) for k in range(2)]
    assert clip.values["tof"] == pytest.approx([tof(*a, *b) for a, b in pairs])
    assert clip.values["tlp"] == pytest.approx(
        [100 * abs(metric(*a) - metric(*b)) for a, b in pairs], rel=1e-4
    )
    assert clip.values["ewarp"] == pytest.approx(
        [warping_error(*a, farneback(*b), farneback(*b[::-1])) for a, b in pairs]
    )


def test_perceptual_distances_are_means_over_phases(weights: Path) -> None:
    result, truth = _frames(2)
    metric = lpips.LPIPS(weights)
    crops = [metric(result, truth, crop=crop) for crop in (4, 6)]
    assert crops[0] != crops[1]
    rules = replace(find_protocol("vid4"), crop="scale", phases=2)
    scoring = Scoring(("lpips",), rules, 4, weights)
    clip = scoring.clip()
    clip.push(result, truth)
    assert clip.values["lpips"] == pytest.approx([np.mean(crops)])
    assert "mean over 2 crops without 4, 6 pixels" in scoring.definitions["lpips"]
    one = Scoring(("lpips",), rules, 4, weights, phases=1).clip()
    one.push(result, truth)
    assert one.values["lpips"] == pytest.approx([crops[0]])
    with pytest.raises(UsageError, match="phases must be 1 to 4, got 5"):
        Scoring(("lpips",), rules, 4, weights, phases=5)


def test_checkerboards_are_found_by_the_scale_of_the_model() -> None:
    scene = _frames(1)[0]
    grid = scene.copy()
    grid[::3, ::3] += 8
    for scale, raised in ((3, True), (4, False)):
        scoring = Scoring(("checkerboard",), find_protocol("real"), scale).clip()
        scoring.push(scene, None)
        scoring.push(grid, None)
        before, after = scoring.values["checkerboard"]
        assert (after > before + 6) == raised
    with pytest.raises(UsageError, match="not defined for models of scale 6"):
        Scoring(("checkerboard",), find_protocol("real"), 6)


def test_flicker_raises_the_metrics_of_time(weights: Path) -> None:
    scores = []
    for flicker in (0.0, 0.04, 0.08):
        scoring = Scoring(("tlp", "ewarp"), find_protocol("vid4"), 4, weights).clip()
        for result, truth in zip(_frames(3, flicker), _frames(3), strict=True):
            scoring.push(result, truth)
        scores.append({name: mean(values) for name, values in scoring.values.items()})
    for name in ("tlp", "ewarp"):
        still, little, much = (score[name] for score in scores)
        assert 0 <= still < little < much
    assert scores[0]["tlp"] == 0
    assert scores[0]["ewarp"] < 0.1


def test_without_truth_the_result_gives_the_flow() -> None:
    scoring = Scoring(("ewarp",), find_protocol("real"), 4)
    assert "flow of the result itself" in scoring.definitions["ewarp"]
    clip = scoring.clip()
    first, second = _frames(2, flicker=0.05)
    clip.push(first, None)
    clip.push(second, None)
    flows = farneback(first, second), farneback(second, first)
    assert clip.values == {"ewarp": [warping_error(first, second, *flows)]}


def test_evaluate_with_all_of_them(clips: Path, weights: Path) -> None:
    report = evaluate(
        model="bicubic",
        data=clips,
        protocol="vid4",
        metrics=["psnr", "lpips", "tof", "tlp", "ewarp"],
        metric_weights=weights,
    )
    content = report.to_dict()
    # one frame has no motion; means are over the clips that have some
    assert content["clips"]["b"]["tof"] is None
    assert content["mean"]["tof"] == content["clips"]["a"]["tof"] > 0
    assert [len(v) for v in report.clips[0].per_frame.values()] == [3, 3, 2, 2, 2]
    assert lpips.FILE in report.definitions["tlp"]
    assert "Farneback" in report.definitions["ewarp"]


def test_real_footage_is_scored_without_truth(clips: Path) -> None:
    report = evaluate(
        model="lanczos", data=clips / "gt", protocol="real", metrics=["ewarp"]
    )
    assert report.to_dict()["mean"]["ewarp"] >= 0


def test_undefined_scores_are_left_out_and_said(tmp_path: Path) -> None:
    model = reference("weights/metrics")
    (tmp_path / "a").mkdir()
    Image.new("RGB", (50, 50), (9, 9, 9)).save(tmp_path / "a" / "0.png")
    picture = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a" / "1.png")

    def run(data: Path) -> object:
        return evaluate(
            model="bicubic",
            data=data,
            protocol="real",
            metrics=["niqe"],
            metric_weights=model,
        )

    report = run(tmp_path)
    assert report.mean["niqe"] > 0
    assert "niqe is not defined on 1 frames" in report.settings
    Image.new("RGB", (40, 40)).save(tmp_path / "a" / "0.png")
    with pytest.raises(InputError, match=r"0\.png cannot be scored with niqe: "):
        run(tmp_path)


def test_missing_weights_stop_before_the_model_runs(
    clips: Path, tmp_path: Path
) -> None:
    for name in ("lpips", "dists", "niqe"):
        with pytest.raises(WeightsError, match=f"weights of {name.upper()}"):
            evaluate(
                model="bicubic",
                data=clips,
                protocol="vid4",
                metrics=[name],
                metric_weights=tmp_path,
            )
