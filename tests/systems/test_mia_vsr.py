"""MIA-VSR against the authors' outputs, names and sizes; masks, gradients, any clip."""

from __future__ import annotations

import ast
import copy

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from material import reference
from upframe.errors import UsageError
from upframe.nn.flow import SpyNet
from upframe.nn.sparse_attention import augment
from upframe.nn.windows import Windows
from upframe.systems.mia_vsr import MIAVSR, AdaptiveMask, Block, choose


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


def _relative(actual: Tensor, wanted: Tensor) -> float:
    return float((actual - wanted).abs().max() / wanted.abs().max())


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(reference("golden/mia_vsr_small.safetensors"))


@pytest.fixture(scope="module")
def network(golden: dict[str, Tensor]) -> MIAVSR:
    network = MIAVSR(16, 24, (2, 2), (2, 2)).eval()
    state = {k[6:]: v for k, v in golden.items() if k.startswith("state.")}
    network.load_state_dict(state)
    return network


def test_flow_equals_the_authors(golden: dict[str, Tensor], network: MIAVSR) -> None:
    frames = golden["input"]
    with torch.inference_mode():
        flow = network.spynet(frames[:, 0], frames[:, 1])
    assert _relative(flow, golden["flow_0_to_1"]) < 1e-5


def test_masked_equals_the_authors(golden: dict[str, Tensor], network: MIAVSR) -> None:
    frames = golden["input"]
    # In double precision: of a quarter of a million random scores some are as close to
    # the threshold as 4e-7, where float32 decides by the order of its additions.
    exact = copy.deepcopy(network).double()
    with torch.inference_mode():
        maps, keep_ratios = exact.features(frames.double())
        for t, features in enumerate(maps):
            picture = network._reconstruct(features.float(), frames[:, t])
            assert _relative(picture, golden["output_masked"][:, t]) < 1e-5
    # the authors count the tokens that pad 68x76 to windows, which they always keep
    padded, real = 72 * 80, 68 * 76
    counted = (keep_ratios * real + padded - real) / padded
    wanted = golden["kept_fraction_per_block_call"].double()
    torch.testing.assert_close(counted, wanted, atol=1e-6, rtol=0)


def test_unmasked_equals_the_authors(
    golden: dict[str, Tensor], network: MIAVSR
) -> None:
    unmasked = copy.deepcopy(network)
    unmasked.use_mask = False
    with torch.inference_mode():
        restored = unmasked.restore(golden["input"])
    assert _relative(restored.frames, golden["output_unmasked"]) < 1e-5
    assert len(restored.keep_ratios) == 0


def test_names_and_shapes_are_those_of_the_authors_files() -> None:
    lines = reference("golden/mia_vsr_reds_state_keys.tsv").read_text().splitlines()
    wanted = [tuple(line.split("\t")) for line in lines]
    with torch.device("meta"):
        state = MIAVSR().state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == [
        (key, ast.literal_eval(shape)) for key, shape in wanted
    ]


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


def test_a_keep_ratio_is_a_share() -> None:
    network = _small()
    for nonsense in (-0.1, 1.5, float("nan")):
        network.keep_ratio = nonsense
        with pytest.raises(UsageError, match="keep ratio"):
            network(_clip(1, 1, 3, 64, 64))


def test_the_highest_scores_are_computed() -> None:
    score = torch.tensor([[0.1, -3.0, 2.0, -0.5], [0.0, 0.0, 0.0, 0.0]])
    assert choose(score, None).tolist() == [[True, False, True, False], [True] * 4]
    half = choose(score, 0.5)
    assert half[0].tolist() == [True, False, True, False]
    assert half.sum(1).tolist() == [2, 2]
    assert not choose(score, 0.0).any()
    assert choose(score, 1.0).all()


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
    assert 0 < share < 1
    assert kept == share
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=0)
    for part, whole in zip(flat[1:], plain[1:], strict=True):
        torch.testing.assert_close(part.view_as(whole), whole, atol=1e-5, rtol=0)


def test_a_still_scene_settles() -> None:
    """Nothing changes any more, and a mask that asks for changes drops all."""
    network = _small(5, depths=(2,), heads=(2,))
    for name, parameter in network.named_parameters():
        if name.endswith("predmask.rnn.bias"):
            nn.init.constant_(parameter, -1e-3)
    still = _clip(1, 1, 3, 64, 64).expand(-1, 4, -1, -1, -1)
    with torch.inference_mode():
        _, shares = network.features(still)
    assert shares[: 2 * 3].view(3, 2)[:, 0].tolist() == [0, 0, 0]


def test_gradients_flow_in_eval_mode() -> None:
    network = _small(depths=(1,), heads=(1,))
    clip = _clip(1, 2, 3, 64, 64).requires_grad_()
    maps, _ = network.features(clip)
    maps[0].sum().backward()
    assert clip.grad is not None
