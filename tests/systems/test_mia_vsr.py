"""MIA-VSR: sizes, masks, gradients, any clip; ``tests/golden`` has the parity."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from upframe.errors import UsageError
from upframe.nn.flow import SpyNet
from upframe.systems.mia_vsr.block import AdaptiveMask, Block, choose
from upframe.systems.mia_vsr.model import MIAVSR
from upframe.systems.mia_vsr.sparse_attention import augment
from upframe.systems.mia_vsr.windows import Windows


class _Drift(nn.Module):
    """Stands for the flow network, which takes most of a small network's time."""

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        h, w = reference.shape[-2:]
        down = torch.linspace(-6, 5, h).to(reference)[:, None].expand(h, w)
        across = torch.linspace(4, -7, w).to(reference).expand(h, w)
        return torch.stack((across, down)).expand(len(reference), -1, -1, -1)


def _small(seed: int = 0, **arguments: object) -> MIAVSR:
    """A network whose masks keep some tokens and drop others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes: dict[str, object] = {"depths": (2, 2), "heads": (2, 3), **arguments}
        network = MIAVSR(8, 12, **sizes)  # type: ignore[arg-type]
        for name, parameter in network.named_parameters():
            if "predmask" in name:
                nn.init.normal_(parameter)
            elif "norm" in name or "bias_table" in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
            elif "attn" in name or "mlp" in name:
                nn.init.normal_(parameter, std=0.2)
    network.spynet = _Drift()  # type: ignore[assignment]
    return network.eval()


def _clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("depths", "count"),
    [((6,) * 4, 16_596_719), ((6,) * 3, 13_181_255), ((6,) * 2, 9_765_791)],
)
def test_parameter_counts(depths: tuple[int, ...], count: int) -> None:
    with torch.device("meta"):
        network = MIAVSR(depths=depths, heads=depths)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(1, 16, 16), (2, 17, 70), (3, 65, 35)]
)
def test_any_size_and_length(frames: int, height: int, width: int) -> None:
    network = _small()
    network.spynet = SpyNet()
    with torch.inference_mode():
        restored = network.restore(_clip(1, frames, 3, height, width))
    assert restored.frames.shape == (1, frames, 3, 4 * height, 4 * width)
    assert bool(restored.frames.isfinite().all())
    assert len(restored.keep_ratios) == 4 * (frames - 1) * 4


def test_pictures_of_a_batch_are_independent() -> None:
    network = _small().double()
    x = _clip(2, 2, 3, 64, 65).double()
    with torch.inference_mode():
        together, _ = network.features(x)
        alone, _ = network.features(x[1:])
    for pair, single in zip(together, alone, strict=True):
        torch.testing.assert_close(pair[1:], single, atol=1e-9, rtol=0)


def test_small_regression() -> None:
    """Values of a seeded network, so that a refactoring that changes them is seen."""
    network = _small(seed=7).double()
    frames = _clip(1, 3, 3, 64, 64).double()
    with torch.inference_mode():
        maps, keep_ratios = network.features(frames)
        picture = network._reconstruct(
            maps[1][..., :16, :16], frames[:, 1, :, :16, :16]
        )
    wanted = torch.tensor([0.281943057, 0.448808288, 0.504866239]).double()
    torch.testing.assert_close(picture[0, :, 21, 37], wanted, atol=1e-6, rtol=0)
    kept = [0.985107421875, 0.006591796875, 0.374267578125, 0.99072265625]
    assert keep_ratios[:4].tolist() == pytest.approx(kept, abs=1e-9)


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        network = _small(drop_path=0.3).train()
        network.checkpointing = checkpointing
        assert network.checkpointing is checkpointing
        torch.manual_seed(1)
        maps, keep_ratios = network.features(_clip(1, 3, 3, 64, 64))
        loss = torch.cat(maps).square().mean() + 0.1 * keep_ratios.mean()
        loss.backward()
        gradients.append({k: p.grad for k, p in network.named_parameters()})
    for name, plain in gradients[0].items():
        again = gradients[1][name]
        assert (plain is None) == (again is None), name
        if plain is not None and again is not None:
            assert torch.equal(plain, again), name


def test_gradients_reach_every_parameter_that_is_used() -> None:
    network = _small().train()
    restored = network.restore(_clip(1, 2, 3, 64, 64))
    loss = restored.frames.square().mean() + restored.keep_ratios.mean()
    loss.backward()
    for name, parameter in network.named_parameters():
        inner = name.split(".", 2)[-1] if name.startswith("patch_align") else ""
        unused = ("conv_first.", "conv_first_feat.", "conv_before_upsample.")
        if inner.startswith(unused):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_training_exposes_the_share_of_tokens_computed() -> None:
    network = _small().train()
    _, keep_ratios = network.features(_clip(2, 3, 3, 64, 64))
    assert keep_ratios.shape == (4 * 2 * 4,)
    mean = keep_ratios.mean()
    assert 0.05 < mean.item() < 0.95
    mean.backward()
    mask = network.get_submodule(
        "patch_align.forward_2.layers.1.residual_group.blocks.1.attn.predmask"
    )
    assert isinstance(mask, AdaptiveMask)
    assert mask.rnn.bias.grad is not None
    # the more tokens score high, the more are computed
    assert float(mask.rnn.bias.grad) > 0


def test_sampled_masks_follow_the_soft_mask() -> None:
    mask = AdaptiveMask(4)
    score = torch.full((20_000,), 0.8, requires_grad=True)
    torch.manual_seed(0)
    kept = mask.sample(score)
    assert bool(((kept == 0) | (kept == 1)).all())
    # the difference of two Gumbel variables is logistic
    assert kept.mean().item() == pytest.approx(torch.sigmoid(score[0]).item(), abs=0.01)
    kept.sum().backward()
    assert score.grad is not None
    assert bool((score.grad >= 0).all())


@pytest.mark.parametrize("keep_ratio", [None, 0.5])
def test_half_precision(keep_ratio: float | None) -> None:
    network = _small(depths=(1,), heads=(2,))
    network.keep_ratio = 1.0
    clip = _clip(1, 2, 3, 64, 64)
    half = copy.deepcopy(network).half()
    with torch.inference_mode():
        wanted = torch.stack(network.features(clip)[0])
        whole = torch.stack(half.features(clip.half())[0])
        # everything computed: rounding alone
        torch.testing.assert_close(whole.float(), wanted, atol=0.05, rtol=0.02)
        for skips in (True, False):
            half.keep_ratio, half.skip_dropped = keep_ratio, skips
            maps, shares = half.features(clip.half())
            assert maps[1].dtype == torch.float16
            assert bool(torch.stack(maps).isfinite().all())
            assert 0 < shares.mean() < 1


def test_autocast() -> None:
    network = _small(depths=(1,), heads=(2,))
    clip = _clip(1, 2, 3, 64, 64)
    with torch.inference_mode():
        network.keep_ratio = 1.0
        wanted = torch.stack(network.features(clip)[0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps, _ = network.features(clip)
    torch.testing.assert_close(torch.stack(maps).float(), wanted, atol=0.3, rtol=0.1)
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps, shares = network.features(clip)
    loss = torch.stack(maps).float().square().mean() + shares.float().mean()
    loss.backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert bool(parameter.grad.isfinite().all()), name


def test_half_precision_samples_are_finite() -> None:
    mask = AdaptiveMask(4)
    torch.manual_seed(0)
    score = torch.full((200_000,), 0.8, dtype=torch.float16, requires_grad=True)
    kept = mask.sample(score)
    assert bool(kept.isfinite().all())
    assert kept.mean().item() == pytest.approx(0.69, abs=0.01)
    kept.sum().backward()
    assert score.grad is not None
    assert bool(score.grad.isfinite().all())


def test_a_keep_ratio_is_a_share() -> None:
    network = _small()
    for nonsense in (-0.1, 1.5, float("nan")):
        network.keep_ratio = nonsense
        with pytest.raises(UsageError, match="keep ratio"):
            network(_clip(1, 1, 3, 64, 64))


def test_the_threshold_is_that_of_training() -> None:
    windows = Windows(2, 2, 2, shifted=False)
    score = torch.tensor([[0.1, -3.0, 2.0, -0.5], [0.0, 0.0, 0.0, 0.0]])
    kept = choose(score, None, windows)
    assert kept.tolist() == [[True, False, True, False], [True] * 4]


def test_windows_with_the_highest_scores_are_computed() -> None:
    windows = Windows(4, 6, 2, shifted=False)
    best, second = [(0, 2), (0, 3), (1, 2), (1, 3)], [(2, 0), (2, 1), (3, 0), (3, 1)]
    score = torch.zeros(2, 4, 6)
    for place in best:
        score[0][place] = 1
    score[0, 0, 0] = 3.9  # one token does not make a window
    for place in second:
        score[0][place] = 0.98
    for keep_ratio, wanted in ((1 / 6, best), (1 / 3, best + second)):
        kept = choose(score.flatten(1), keep_ratio, windows).view(2, 4, 6)
        assert sorted(map(tuple, kept[0].nonzero().tolist())) == sorted(wanted)
        assert kept[1].sum() == len(wanted)
    assert choose(score.flatten(1), 0.5, windows).sum(1).tolist() == [12, 12]
    assert not choose(score.flatten(1), 0.0, windows).any()
    assert choose(score.flatten(1), 1.0, windows).all()


def test_windows_over_the_edge_are_ranked_by_their_tokens_alone() -> None:
    windows = Windows(3, 3, 2, shifted=False)
    score = torch.zeros(3, 3)
    score[2, 2] = 1.0  # the only token of its window
    score[:2, :2] = 0.9
    assert choose(score.view(1, -1), 1 / 9, windows)[0].nonzero().tolist() == [[8]]


@pytest.mark.parametrize(
    ("seed", "size", "sizes", "keep_ratio"),
    [
        (1, (64, 72), {}, None),
        (2, (66, 69), {"depths": (3,), "heads": (6,), "mlp_ratio": 1.5}, None),
        (3, (65, 64), {"depths": (2,), "heads": (1,), "window": 4}, 0.3),
        (4, (66, 64), {"depths": (2,), "heads": (2,)}, 1.0),
        (5, (64, 65), {"depths": (2,), "heads": (3,)}, 0.1),
        (6, (64, 64), {"depths": (2,), "heads": (2,)}, 0.0),
    ],
)
def test_skipping_dropped_tokens_changes_nothing(
    seed: int, size: tuple[int, int], sizes: dict[str, object], keep_ratio: float | None
) -> None:
    # double precision keeps scores next to the threshold on the same side of it
    network = _small(seed, **sizes).double()
    network.keep_ratio = keep_ratio
    clip = _clip(1, 3, 3, *size).double()
    with torch.inference_mode():
        assert network.skip_dropped
        skipping, shares = network.features(clip)
        network.skip_dropped = False
        computing, wanted = network.features(clip)
    torch.testing.assert_close(shares, wanted)
    if keep_ratio is not None:
        torch.testing.assert_close(
            shares, torch.full_like(shares, keep_ratio), atol=1e-3, rtol=0
        )
    for actual, expected in zip(skipping, computing, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("keep_ratio", [None, 0.5, 0.1])
def test_one_block_in_single_precision(shifted: bool, keep_ratio: float | None) -> None:
    block = _small(6).get_submodule(
        f"patch_align.forward_1.layers.0.residual_group.blocks.{int(shifted)}"
    )
    assert isinstance(block, Block)
    before, x, *pasts = _clip(4, 1, 35, 44, 12)
    past = torch.stack(pasts, dim=1)
    windows = Windows(35, 44, 8, shifted=shifted)
    augmented = windows.cut(augment(past, block.norm1.eps))
    with torch.inference_mode():
        _, plain, _ = block(before, past, None, windows, None)
        _, flat, _ = block.skipping(before, augmented, None, windows, None)
        wanted, plain, share = block(x, past, plain, windows, keep_ratio)
        actual, flat, kept = block.skipping(x, augmented, flat, windows, keep_ratio)
    assert 0 < share.mean() < 1
    assert torch.equal(kept, share)
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=0)
    for part, whole in zip(flat[1:], plain[1:], strict=True):
        torch.testing.assert_close(part.view_as(whole), whole, atol=1e-5, rtol=0)


def _asking_for_change(seed: int, **arguments: object) -> MIAVSR:
    """A network whose masks drop what did not change, as training teaches."""
    network = _small(seed, **arguments)
    for name, parameter in network.named_parameters():
        if name.endswith("predmask.rnn.bias"):
            nn.init.constant_(parameter, -1e-3)
        elif name.endswith("predmask.rnn.weight"):
            parameter.data.abs_()
    return network


class _Counting(nn.Module):
    """Passes calls on and counts what goes through."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.places = 0

    def forward(self, *given: Tensor) -> Tensor:
        self.places += sum(x.shape[0] * x.shape[2] * x.shape[3] for x in given[:1])
        out: Tensor = self.inner(*given)
        return out


def test_a_still_scene_is_computed_once() -> None:
    network = _asking_for_change(5, depths=(2,), heads=(2,))
    network.spynet = flow = _Counting(network.spynet)  # type: ignore[assignment]
    network.conv_hr = last = _Counting(network.conv_hr)  # type: ignore[assignment]
    still = _clip(1, 1, 3, 64, 64).expand(-1, 4, -1, -1, -1)
    with torch.inference_mode():
        restored = network.restore(still)
        assert flow.places == 64 * 64
        assert last.places == 256 * 256
        network.skip_dropped = False
        wanted = network.restore(still)
    assert restored.keep_ratios.tolist() == [0] * (4 * 3 * 2)
    torch.testing.assert_close(restored.frames, wanted.frames, atol=1e-5, rtol=0)
    assert torch.equal(restored.frames[:, 0], restored.frames[:, 3])


def test_masks_that_keep_what_stands_still_are_obeyed() -> None:
    """A bias above the threshold asks for every token, changed or not."""
    network = _small(5, depths=(2,), heads=(2,)).double()
    for name, parameter in network.named_parameters():
        if name.endswith("predmask.rnn.bias"):
            nn.init.constant_(parameter, 1e-3)
    still = _clip(1, 1, 3, 64, 64).expand(-1, 3, -1, -1, -1).double()
    with torch.inference_mode():
        skipping, shares = network.features(still)
        network.skip_dropped = False
        wanted, all_shares = network.features(still)
    assert shares[0] == 1
    torch.testing.assert_close(shares, all_shares)
    torch.testing.assert_close(skipping, wanted, atol=1e-9, rtol=0)


def test_what_moves_in_a_still_scene_is_computed_alone() -> None:
    network = _asking_for_change(6, depths=(2, 1), heads=(2, 3)).double()
    flow = _Drift()
    network.spynet = flow  # type: ignore[assignment]
    clip = _clip(1, 1, 3, 80, 96).double().expand(-1, 4, -1, -1, -1).clone()
    for t in range(4):
        clip[0, t, :, 20:28, 30 + t : 38 + t] = 0.5
    with torch.inference_mode():
        counted = _Counting(network.conv_hr)
        network.conv_hr = counted  # type: ignore[assignment]
        restored = network.restore(clip)
        fine = 80 * 96 * 16
        assert fine < counted.places < 3 * fine  # of four frames, the first whole
        network.skip_dropped = False
        wanted = network.restore(clip)
    torch.testing.assert_close(restored.keep_ratios, wanted.keep_ratios)
    assert 0 < restored.keep_ratios.mean() < 0.3
    torch.testing.assert_close(restored.frames, wanted.frames, atol=1e-9, rtol=0)


def test_masks_can_be_drawn() -> None:
    network = _small(2)
    clip = _clip(1, 3, 3, 40, 66)
    masks = network.masks(clip)
    with torch.inference_mode():
        shares = network.restore(clip[..., :64]).keep_ratios
    assert list(masks) == ["backward_1", "forward_1", "backward_2", "forward_2"]
    for name, kept in masks.items():
        assert kept.dtype == torch.bool
        assert kept.shape == (1, 3, 4, 40, 66)
        first = 2 if name.startswith("backward") else 0
        assert kept[:, first].all(), name
        assert not kept[:, 1].all(), name
    assert len(shares) == 4 * 2 * 4
    network.keep_ratio = 0.25
    square = network.masks(_clip(1, 2, 3, 64, 64))["forward_2"][0, 1]
    assert square.float().mean(dim=(1, 2)).tolist() == [0.25] * 4
    # whole windows of the even blocks
    tiles = square[0].view(8, 8, 8, 8).float().mean(dim=(1, 3))
    assert set(tiles.flatten().tolist()) == {0.0, 1.0}


def test_gradients_flow_in_eval_mode() -> None:
    network = _small(depths=(1,), heads=(1,))
    clip = _clip(1, 2, 3, 64, 64).requires_grad_()
    maps, _ = network.features(clip)
    maps[0].sum().backward()
    assert clip.grad is not None
