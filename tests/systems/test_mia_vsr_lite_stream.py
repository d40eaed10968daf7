"""Steps that skip windows: equal to whole maps, at rest where nothing moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lite_networks import clip, lite
from upframe.systems.mia_vsr_lite.blocks import SETTLE
from upframe.systems.mia_vsr_lite.model import MIAVSRLite, restore_blocks
from upframe.systems.mia_vsr_lite.stream import BLOCK, Outcome, StreamStep
from upframe.systems.mia_vsr_lite.whole import WholeStep


def _windows(frames: Tensor) -> list[Tensor]:
    """(T, 3, h, w) to what each step sees, (3, h, w, 3)."""
    rows = frames.permute(0, 2, 3, 1).contiguous()
    last = len(rows) - 1
    return [rows[[max(0, i - 1), i, min(last, i + 1)]] for i in range(len(rows))]


def _run(
    network: MIAVSRLite,
    frames: Tensor,
    keep: float,
    whole_maps: float = 2.0,
    overwrite: bool = False,
) -> list[Outcome]:
    step = StreamStep(network, whole_maps, overwrite)
    memory = step.start(*frames.shape[2:])
    outcomes = []
    with torch.inference_mode():
        for i, window in enumerate(_windows(frames)):
            first = torch.tensor(i == 0)
            outcomes.append(step(window, first, first, torch.tensor(keep), memory))
            memory = outcomes[-1].memory
    return outcomes


def _pictures(outcomes: list[Outcome]) -> Tensor:
    return torch.cat([outcome.frame for outcome in outcomes]).permute(0, 3, 1, 2)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_without_a_keep_ratio_it_is_the_network(masks: bool, heads: int) -> None:
    network = lite(use_mask=masks, heads=heads)
    frames = clip(1, SETTLE, 3, 24, 40)
    outcomes = _run(network, frames[0], -1.0)
    with torch.inference_mode():
        whole = network.restore(frames)
    wanted = whole.frames[0].clamp(0, 1)
    torch.testing.assert_close(_pictures(outcomes), wanted, atol=1e-5, rtol=0)
    if masks:
        kept = torch.stack([o.computed[1:].mean(dim=1) for o in outcomes[1:]])
        torch.testing.assert_close(kept.flatten(), whole.keep_ratios)
        assert 0 < kept.mean() < 1


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
def test_tiles_are_equal_to_whole_maps(masks: bool, keep: float) -> None:
    network = lite(use_mask=masks)
    frames = clip(7, 3, 24, 40)
    tiles = _run(network, frames, keep)
    maps = _run(network, frames, keep, whole_maps=0.0)
    torch.testing.assert_close(_pictures(tiles), _pictures(maps), atol=1e-5, rtol=0)
    for one, other in zip(tiles, maps, strict=True):
        assert torch.equal(one.computed, other.computed)
    shares = torch.stack([o.computed[0].mean() for o in tiles[1:]])
    half_a_block = (8 if masks else BLOCK) ** 2 / (24 * 40) / 2
    assert (shares <= keep + half_a_block).all()


@pytest.mark.parametrize("masks", [False, True])
def test_overwriting_the_memory_changes_nothing(masks: bool) -> None:
    network = lite(use_mask=masks)
    frames = clip(5, 3, 40, 56)
    copies = _run(network, frames, 0.4)
    over = _run(network, frames, 0.4, overwrite=True)
    assert torch.equal(_pictures(copies), _pictures(over))
    first, last = over[0].memory.inputs[-1], over[-1].memory.inputs[-1]
    assert first.data_ptr() == last.data_ptr()
    assert not torch.equal(copies[0].memory.inputs[-1], last)


def test_the_whole_step_is_the_network() -> None:
    network = lite()
    frames = clip(1, 4, 3, 24, 40)
    step = WholeStep(network)
    hidden = torch.zeros(24 * 40 + 1, network.dim)
    with torch.inference_mode():
        wanted = network.restore(frames).frames[0].clamp(0, 1)
        for i, window in enumerate(_windows(frames[0])):
            picture, hidden = step(window, torch.tensor(i == 0), hidden)
            made = picture[0].permute(2, 0, 1)
            torch.testing.assert_close(made, wanted[i], atol=1e-5, rtol=0)


def test_it_goes_on_from_a_hidden_state_of_whole_steps() -> None:
    network = lite()
    frames = clip(1, 3, 3, 24, 40)
    whole, step = WholeStep(network), StreamStep(network)
    memory = step.start(24, 40)
    hidden = memory.hidden
    yes, no = torch.tensor(True), torch.tensor(False)
    windows = _windows(frames[0])
    with torch.inference_mode():
        wanted = network.restore(frames).frames[0].clamp(0, 1)
        for i in range(2):
            _, hidden = whole(windows[i], torch.tensor(i == 0), hidden)
        memory = memory._replace(hidden=hidden)
        made = step(windows[2], no, yes, torch.tensor(0.1), memory).frame
    torch.testing.assert_close(made[0].permute(2, 0, 1), wanted[2], atol=1e-5, rtol=0)


def test_a_still_scene_comes_to_rest() -> None:
    network = lite()
    frames = clip(1, 3, 24, 40).expand(SETTLE + 4, -1, -1, -1)
    outcomes = _run(network, frames, -1.0)
    shares = [o.computed[0].mean().item() for o in outcomes]
    assert shares == [1.0] * SETTLE + [0.0] * 4
    with torch.inference_mode():
        whole = network.restore(frames[None]).frames[0].clamp(0, 1)
    error = (_pictures(outcomes) - whole)[SETTLE:].square().mean()
    assert -10 * error.log10() > 45


@pytest.mark.parametrize(
    ("masks", "rows", "columns"),
    [(True, slice(1, 4), slice(3, 6)), (False, slice(0, 4), slice(2, 6))],
)
def test_only_what_moves_and_its_neighbours_are_computed(
    masks: bool, rows: slice, columns: slice
) -> None:
    """Window (2, 4) moves: with masks 3x3 windows, without the four blocks of them."""
    network = lite(use_mask=masks)
    frames = clip(1, 3, 48, 80).repeat(SETTLE + 3, 1, 1, 1)
    frames[SETTLE + 1, :, 17, 33] = 1 - frames[SETTLE + 1, :, 17, 33]
    computed = _run(network, frames, -1.0)[SETTLE + 1].computed[0].reshape(6, 10)
    wanted = torch.zeros(6, 10)
    wanted[rows, columns] = 1
    assert torch.equal(computed, wanted)


@pytest.mark.parametrize(("masks", "share"), [(True, 12), (False, 3 * 4)])
def test_debt_makes_every_moving_window_come_to_its_turn(
    masks: bool, share: int
) -> None:
    network = lite(use_mask=masks)
    frames = torch.rand(12, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    outcomes = _run(network, frames, 0.2)
    computed = torch.stack([o.computed[0] for o in outcomes[1:]])
    assert (computed.sum(dim=1) == share).all()
    assert (computed.sum(dim=0) >= 1).all()


def test_blocks_at_the_edges_count_by_their_pixels() -> None:
    """Of 6 blocks that overlap on 24x40 pixels half of 960 pixels are 2, not 3."""
    frames = torch.rand(3, 3, 24, 40, generator=torch.Generator().manual_seed(4))
    outcomes = _run(lite(), frames, 0.5)
    assert outcomes[0].computed[0].sum() == 15
    assert all(4 < o.computed[0].sum() <= 8 for o in outcomes[1:])


def test_what_is_dropped_moves_along() -> None:
    """Nothing is computed after the first frame; its detail follows the motion."""
    network = lite()
    wide = torch.rand(3, 48, 90, generator=torch.Generator().manual_seed(2))
    frames = torch.stack([wide[:, :, 2 * i : 2 * i + 64] for i in range(4)])
    outcomes = _run(network, frames, 0.0)
    first, last = _pictures(outcomes)[[0, 3]]
    assert outcomes[3].computed.sum() == 0
    shift = 4 * 2 * 3
    there = first[:, 96:-64, 96:-64]
    here = last[:, 96:-64, 96 - shift : -64 - shift]
    assert (there - here).abs().mean() < 0.02
    still = last[:, 96:-64, 96:-64]
    assert (there - still).abs().mean() > 0.1


def test_clips_with_a_keep_ratio() -> None:
    network = lite()
    frames = clip(2, 3, 3, 21, 24)
    network.keep_ratio = 0.4
    with torch.inference_mode():
        made = network.restore(frames)
    assert made.frames.shape == (2, 3, 3, 84, 96)
    assert made.keep_ratios.tolist() == pytest.approx([4 / 9] * 4)
    with torch.inference_mode():
        out, _ = restore_blocks(network, frames[:, :, :, :16], 0.4)
        small = network(frames[..., :5, :7])
    assert out.shape == (2, 3, 3, 64, 96)
    assert small.shape == (2, 3, 3, 20, 28)
