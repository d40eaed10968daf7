"""Recurrent networks learn from late frames, with a teacher's frames as targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from upframe.datasets.distilled import DistilledClip, read_clip, write_clip
from upframe.datasets.pairs import PairCache
from upframe.datasets.temporal import TemporalData
from upframe.degradations.web import WebConfig
from upframe.errors import UsageError, WeightsError
from upframe.systems.mia_vsr_lite import MIAVSRLite
from upframe.training.batches import Samples
from upframe.training.loop import train
from upframe.training.recipe import Recipe
from upframe.training.teacher import ClipMaker, Teacher, main
from upframe.training.trainer import Trainer
from upframe.training.unrolling import unrolled


@pytest.fixture
def network() -> MIAVSRLite:
    torch.manual_seed(0)
    return MIAVSRLite(8, (1,), use_mask=False).train()


def test_frames_are_those_of_the_whole_clip(network: MIAVSRLite) -> None:
    clip = torch.rand(2, 7, 3, 16, 16)
    with torch.no_grad():
        whole = network(clip)
        some = unrolled(network, clip, (3, 5))
        end = unrolled(network, clip, (6,))
    torch.testing.assert_close(some, whole[:, [3, 5]])
    torch.testing.assert_close(end, whole[:, [6]])


def test_gradients_reach_back_to_the_first_of_the_frames(network: MIAVSRLite) -> None:
    clip = torch.rand(1, 8, 3, 16, 16, requires_grad=True)
    unrolled(network, clip, (4, 6))[:, 1].mean().backward()
    assert clip.grad is not None
    reached = clip.grad.abs().amax((0, 2, 3, 4)) > 0
    # the first of the frames looks at its neighbours
    assert reached.tolist() == [False, False, False, True, True, True, True, True]


def test_networks_that_are_not_recurrent_are_refused() -> None:
    with pytest.raises(UsageError, match="not recurrent"):
        unrolled(nn.Identity(), torch.rand(1, 2, 3, 8, 8), (1,))


@pytest.fixture
def taught(lite_tree: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    folder = tmp_path / "taught"
    folder.mkdir()
    for number in range(3):
        low = rng.integers(0, 256, (6, 32, 32, 3), np.uint8)
        large = rng.integers(0, 256, (2, 128, 128, 3), np.uint8)
        clip = DistilledClip(low, np.array([1, 4]), large, large // 2)
        write_clip(clip, folder / f"{number}.npz")
    lite_tree["data"] |= {"teacher": folder, "warmup": 6}
    lite_tree["system"]["args"]["use_mask"] = False
    lite_tree["optimiser"] |= {"keep_weight": 0.0, "loss": "charbonnier"}
    return lite_tree


def test_resume_is_exact_with_a_teacher(taught: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(taught)
    whole = Trainer(recipe)
    samples = Samples(recipe.data, 4, recipe.seed)
    for step in range(recipe.optimiser.steps):
        batch = samples[step]
        assert batch.high.shape == (2, 2, 64, 64, 3)
        assert batch.low.shape[1] == batch.supervised[1] + 2
        whole.train_step(batch)
    assert train(recipe, minutes=0).step == 1
    report = train(recipe, resume="auto")
    saved = torch.load(report.checkpoint, weights_only=True)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(saved["params"][key], value), key


def test_clips_are_made_of_their_number_alone(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    pairs = PairCache.build(tree["data"]["train"], tmp_path / "cache", 4, 8)
    maker = ClipMaker(
        TemporalData(pairs),
        WebConfig(clean=1, heavy=0),
        lambda frame: np.kron(frame, np.ones((4, 4, 1), np.uint8)),
        frames=5,
        side=16,
        every=2,
        seed=3,
    )
    clip, again, other = (maker.make(number) for number in (1, 1, 2))
    for name, value in vars(clip).items():
        np.testing.assert_array_equal(value, getattr(again, name))
    assert (clip.low != other.low).any()
    assert clip.frames.tolist() == [1, 3]
    np.testing.assert_array_equal(clip.teacher[:, ::4, ::4], clip.low[clip.frames])
    assert clip.high.shape == clip.teacher.shape == (2, 64, 64, 3)


def test_the_command_makes_what_is_missing(
    tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubling:
        def __init__(self, param: Path, threads: int) -> None:
            assert (param.name, threads) == ("net.param", 1)

        def __call__(self, frame: np.ndarray) -> np.ndarray:
            return np.kron(frame, np.ones((4, 4, 1), np.uint8))

    monkeypatch.setattr("upframe.training.teacher.Teacher", Doubling)
    out = tmp_path / "clips"
    line = [
        *("net.param", str(out), "--images", str(tree["data"]["train"])),
        *("--cache", str(tmp_path / "cache"), "--frames", "4", "--every", "2"),
        *("--side", "8", "--clips", "3"),
    ]
    main(line)
    assert [path.name for path in sorted(out.iterdir())] == [
        f"{number:05d}.npz" for number in range(3)
    ]
    first = read_clip(out / "00000.npz")
    (out / "00001.npz").unlink()
    (out / "00000.npz").touch()
    main(line)
    np.testing.assert_array_equal(read_clip(out / "00000.npz").low, first.low)
    assert (out / "00001.npz").exists()


def test_a_teacher_that_is_no_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    (tmp_path / "no.param").write_text("nothing")
    (tmp_path / "no.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match="ncnn can read"):
        Teacher(tmp_path / "no.param", 1)
