"""MIA-VSR lite: the base, clips of any size and length, masks, and what a step says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lite_networks import clip, lite
from upframe.errors import UsageError
from upframe.nn.resize import imresize
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.mia_vsr_lite.motion import aligned_rows, patch_motion, take
from upframe.systems.mia_vsr_lite.network import State


def _texture(h: int, w: int) -> Tensor:
    noise = torch.rand(1, 3, h + 4, w + 4, generator=torch.Generator().manual_seed(3))
    return F.avg_pool2d(noise, 5, 1)


@pytest.mark.parametrize("shift", [(3, -6), (0, 0), (-8, 7), (1, 8)])
def test_motion_finds_a_shift(shift: tuple[int, int]) -> None:
    here = _texture(96, 112)
    there = torch.roll(here, shift, (2, 3))
    found = patch_motion(here, there)[0, 2:-2, 2:-2]
    assert (found == torch.tensor(shift)).all()


def test_motion_is_zero_where_nothing_can_be_seen() -> None:
    flat = torch.full((2, 3, 32, 48), 0.4)
    assert (patch_motion(flat, flat) == 0).all()
    # a change of brightness alone is no motion
    assert (patch_motion(flat, flat + 0.1) == 0).all()


def test_taking_along_the_motion_undoes_a_shift() -> None:
    here = _texture(64, 64)
    there = torch.roll(here, (2, -3), (2, 3))
    moved = take(there, aligned_rows(patch_motion(here, there)))
    inner = (slice(None), slice(None), slice(16, -16), slice(16, -16))
    assert torch.equal(moved[inner], here[inner])


def test_the_base_is_bicubic_interpolation() -> None:
    network = MIAVSRLite(use_mask=False).eval()
    with torch.no_grad():
        network.conv_last.weight.zero_()
        frame = _texture(24, 32)
        made = network(frame[:, None])[0, 0].permute(1, 2, 0)
    wanted = imresize(frame[0].permute(1, 2, 0).numpy(), size=(96, 128))
    torch.testing.assert_close(
        made[8:-8, 8:-8], torch.from_numpy(wanted).float()[8:-8, 8:-8],
        atol=1e-5, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize(("t", "h", "w"), [(1, 16, 16), (3, 17, 30), (2, 40, 24)])
@pytest.mark.parametrize("masks", [False, True])
def test_any_length_and_size(t: int, h: int, w: int, masks: bool) -> None:
    network = lite(use_mask=masks)
    with torch.inference_mode():
        restored = network.restore(clip(2, t, 3, h, w))
    assert restored.frames.shape == (2, t, 3, 4 * h, 4 * w)
    assert len(restored.keep_ratios) == (2 * (t - 1) if masks else 0)


@pytest.mark.parametrize("masks", [False, True])
def test_steps_one_by_one_are_the_whole_clip(masks: bool) -> None:
    network = lite(use_mask=masks)
    frames = clip(1, 4, 3, 24, 32)
    state: State | None = None
    shares: list[Tensor] = []
    with torch.inference_mode():
        whole = network.restore(frames)
        for i in range(4):
            window = [frames[:, j] for j in (max(0, i - 1), i, min(3, i + 1))]
            result, state, mask = network.step(*window, state)
            shares += [m.mean() for m in mask]
            assert torch.equal(result, whole.frames[:, i])
    assert torch.equal(torch.tensor(shares), whole.keep_ratios)


def test_masks_drop_some_windows_and_change_only_a_little() -> None:
    network = lite(use_mask=True)
    frames = clip(1, 4, 3, 48, 64)
    with torch.inference_mode():
        masked = network.restore(frames)
        network.use_mask = False
        whole = network.restore(frames)
    assert 0.05 < masked.keep_ratios.mean() < 0.95
    assert not torch.equal(masked.frames, whole.frames)
    assert torch.equal(masked.frames[:, 0], whole.frames[:, 0])


def test_masks_learn() -> None:
    network = lite(use_mask=True).train()
    restored = network.restore(clip(1, 3, 3, 16, 16))
    (restored.frames.mean() + restored.keep_ratios.mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_keep_ratio_that_is_no_share_is_refused() -> None:
    network = lite()
    network.keep_ratio = 1.5
    with pytest.raises(UsageError, match=r"1\.5"):
        network.restore(clip(1, 2, 3, 16, 16))


@pytest.mark.parametrize("masks", [True, False])
def test_results_are_clipped_with_no_keep_ratio(masks: bool) -> None:
    network = lite(use_mask=masks)
    board = (torch.arange(24)[:, None] + torch.arange(24)) % 2
    frames = board.float().expand(1, 3, 3, 24, 24)
    for keep_ratio in (None, 0.5, 1.0):
        network.keep_ratio = keep_ratio
        with torch.inference_mode():
            out = network(frames)
        assert out.min() < 0
        assert out.max() > 1
