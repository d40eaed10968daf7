"""Models that look at several frames, through sessions of whole clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lite_networks import lite
from upframe.degradations.bicubic import bicubic_down, to_uint8
from upframe.errors import RuntimeFailure
from upframe.evaluation import evaluate as module
from upframe.evaluation.evaluate import evaluate
from upframe.metrics import psnr
from upframe.nn.resize import imresize
from upframe.runtimes.base import FloatFrame, Session
from upframe.runtimes.sessions import SessionBase
from upframe.weights.card import ModelCard

CARD = ModelCard(
    name="late", system="late", scale=4, summary="", licence="MIT", context=3
)


class Late:
    """Bicubic that answers some frames late; ``delay`` None answers at the end."""

    name, device, precision = "late", "cpu", "fp32"
    fallbacks = ()

    def __init__(self, delay: int | None, lost: int = 0) -> None:
        self.card, self.delay, self.lost = CARD, delay, lost
        self.sessions: list[int] = []

    def session(self) -> Session:
        self.sessions.append(0)
        return LateSession(self)


class LateSession(SessionBase):
    def __init__(self, runtime: Late) -> None:
        self.runtime, self.owed = runtime, []
        self.place = len(runtime.sessions) - 1

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        self.runtime.sessions[self.place] += 1
        large = imresize(np.asarray(frame, np.float64), 4).clip(0, 1)
        self.owed.append(large.astype(np.float32))
        delay = self.runtime.delay
        if delay is None or len(self.owed) <= delay:
            return []
        return [self.owed.pop(0)]

    def flush(self) -> list[FloatFrame]:
        owed, self.owed = self.owed, []
        return owed[self.runtime.lost :]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Every frame has other scores than its neighbours."""
    rng = np.random.default_rng(0)
    for clip, frames in (("a", 41), ("b", 3)):
        (tmp_path / "gt" / clip).mkdir(parents=True)
        for number in range(frames):
            picture = to_uint8(imresize(rng.random((6, 8, 3)), size=(24, 32)))
            noise = rng.integers(0, 2 + 3 * (number % 7), picture.shape)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "gt" / clip / f"{number:03d}.png")
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, runtime: Late) -> Late:
    monkeypatch.setattr(module, "open_runtime", lambda *_, **__: runtime)
    return runtime


@pytest.mark.parametrize("delay", [0, 2, None])
def test_late_frames_meet_their_own_ground_truth(
    clips: Path, monkeypatch: pytest.MonkeyPatch, delay: int | None
) -> None:
    arguments = {"model": "bicubic", "data": clips, "protocol": "vid4"}
    want = evaluate(metrics=["psnr"], **arguments)
    runtime = use(monkeypatch, Late(delay))
    got = evaluate(metrics=["psnr"], **arguments)
    for one, other in zip(got.clips, want.clips, strict=True):
        assert one.per_frame["psnr"] == pytest.approx(other.per_frame["psnr"], abs=0.02)
        assert np.ptp(one.per_frame["psnr"]) > 0.5
    # The warm-up, and a session for each clip.
    assert runtime.sessions[-2:] == [41, 3]
    assert got.ms_per_frame > 0
    assert "2 clips, 44 frames through the model" in got.settings
    assert "chunks" not in got.settings


def test_long_clips_go_in_chunks_with_context(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"model": "bicubic", "data": clips, "protocol": "vid4"}
    want = evaluate(metrics=["psnr"], **arguments)
    runtime = use(monkeypatch, Late(None))
    got = evaluate(metrics=["psnr"], chunk_frames=16, **arguments)
    assert runtime.sessions[-4:] == [19, 22, 12, 3]
    assert "in chunks of 16 frames that see 3 more on each side" in got.settings
    for one, other in zip(got.clips, want.clips, strict=True):
        assert one.per_frame["psnr"] == pytest.approx(other.per_frame["psnr"], abs=0.02)


def test_a_model_that_loses_frames(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Late(2, lost=1))
    with pytest.raises(RuntimeFailure, match="made 40 of 41 frames of a"):
        evaluate(model="bicubic", data=clips, protocol="vid4")


def test_a_network_of_clips_is_scored_as_it_computes_whole_clips(
    tmp_path: Path,
) -> None:
    network = lite()
    save_file(network.state_dict(), tmp_path / "lite.safetensors")
    (tmp_path / "gt" / "a").mkdir(parents=True)
    rng = np.random.default_rng(1)
    truths = [to_uint8(imresize(rng.random((12, 16, 3)), size=(96, 128)))]
    for number in range(4):
        truths.append(np.roll(truths[0], (number, 3 * number), axis=(0, 1)))
    for number, truth in enumerate(truths):
        Image.fromarray(truth).save(tmp_path / "gt" / "a" / f"{number}.png")
    report = evaluate(
        model=str(tmp_path / "lite.safetensors"),
        data=tmp_path,
        protocol="vid4",
        metrics=["psnr"],
        threads=1,
        keep_ratio=1.0,
    )
    assert "keep ratio 1" in report.settings
    low = np.stack([bicubic_down(truth, 4) for truth in truths]) / 255.0
    x = torch.from_numpy(low).float().permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        y = network(x)[0].permute(0, 2, 3, 1).double().numpy()
    want = [psnr(to_uint8(a), b) for a, b in zip(y, truths, strict=True)]
    assert report.clips[0].per_frame["psnr"] == pytest.approx(want, abs=0.01)
