"""Routed attention against one softmax under a mask, over sizes, borders, kinds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from upframe.errors import UsageError
from upframe.systems.oasis.routed_attention import (
    Grid,
    HeadKind,
    Window,
    check_window,
    frame_attention,
    masked_attention,
    pattern_mask,
    routed_attention,
    tiled_attention,
    window_attention,
    window_blocks,
)

odd = st.sampled_from([1, 3, 5, 9])


def tokens(heads: int, grid: Grid, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, values with peaked attention, so that every key matters."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 2, heads, grid.tokens, 8, generator=generator)
    return 2 * q, 2 * k, v


@given(
    grid=st.builds(Grid, st.integers(1, 6), st.integers(1, 11), st.integers(1, 11)),
    window=st.builds(Window, odd, odd, odd),
    kinds=st.lists(
        st.sampled_from(["global", "frame", "window"]), min_size=1, max_size=5
    ),
)
def test_it_equals_the_masked_reference(
    grid: Grid, window: Window, kinds: list[HeadKind]
) -> None:
    q, k, v = tokens(len(kinds), grid)
    got = routed_attention(q, k, v, kinds, grid, window)
    wanted = masked_attention(q, k, v, kinds, grid, window)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tile", [(1, 4, 4), (2, 3, 5), (4, 8, 8), (9, 1, 1)])
def test_the_boxes_do_not_show(tile: tuple[int, int, int]) -> None:
    grid, window = Grid(5, 9, 13), Window(3, 5, 7)
    q, k, v = tokens(1, grid)
    wanted = masked_attention(q, k, v, ["window"], grid, window)
    got = tiled_attention(q, k, v, grid, window, tile)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_a_window_sees_its_border_and_nothing_past_it() -> None:
    grid, window = Grid(5, 7, 7), Window(3, 3, 5)
    mask = pattern_mask("window", grid, window).view(*grid, *grid)
    seen = mask[2, 3, 3]
    assert seen.sum() == 3 * 3 * 5
    assert seen[1:4, 2:5, 1:6].all()
    corner = mask[0, 0, 0]
    assert corner.sum() == 2 * 2 * 3  # no wrapping round to the other side


def test_a_far_token_changes_only_the_heads_that_see_it() -> None:
    grid, window = Grid(4, 6, 6), Window(3, 3, 3)
    kinds: list[HeadKind] = ["window", "global", "frame"]
    q, k, v = tokens(3, grid)
    q = q / 8  # no key is without weight
    before = routed_attention(q, k, v, kinds, grid, window).unflatten(2, grid)
    v = v.clone()
    v.unflatten(2, grid)[:, :, 3, 5, 5] += 10
    after = routed_attention(q, k, v, kinds, grid, window).unflatten(2, grid)
    changed = (after - before).abs().amax(dim=(0, -1)) > 1e-6
    assert changed[1].all()  # global
    assert changed[2, 3].all()  # frame: its own
    assert not changed[2, :3].any()
    assert changed[0, 2:, 4:, 4:].all()  # window
    assert changed[0].sum() == 2 * 2 * 2


def test_one_frame_makes_frame_heads_global() -> None:
    grid = Grid(1, 5, 6)
    q, k, v = tokens(2, grid)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(frame_attention(q, k, v, grid), wanted)


def test_a_window_larger_than_the_clip_makes_heads_global() -> None:
    grid = Grid(2, 4, 4)
    q, k, v = tokens(2, grid)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    got = window_attention(q, k, v, grid, Window(9, 9, 9))
    torch.testing.assert_close(got, wanted)
    # 5 of 4 tokens is not enough: from one border the other is out of reach
    got = window_attention(q, k, v, grid, Window(5, 5, 5))
    wanted = masked_attention(q, k, v, ["window"] * 2, grid, Window(5, 5, 5))
    assert (got - wanted).abs().max() < 1e-5
    assert not pattern_mask("window", grid, Window(5, 5, 5)).all()


def test_gradients_equal_those_of_the_reference() -> None:
    grid, window = Grid(3, 5, 9), Window(3, 3, 3)
    kinds: list[HeadKind] = ["frame", "window", "global", "window"]
    gradients = []
    for attention in (routed_attention, masked_attention):
        inputs = [x.requires_grad_() for x in tokens(4, grid)]
        attention(*inputs, kinds, grid, window).square().sum().backward()  # type: ignore[operator]
        gradients.append(torch.stack([x.grad for x in inputs if x.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_mask_for_flex_attention_is_the_window() -> None:
    grid, window = Grid(3, 7, 20), Window(1, 5, 3)  # 420 tokens: 4 blocks, one short
    q, k, v = tokens(2, grid)
    blocks = window_blocks(grid, window, torch.device("cpu"))
    wanted = masked_attention(q, k, v, ["window"] * 2, grid, window)
    got = flex_attention(q, k, v, block_mask=blocks)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    seen = torch.nn.functional.pad(pattern_mask("window", grid, window), (0, 92) * 2)
    used = seen.view(4, 128, 4, 128).any(3).any(1)
    assert torch.equal(blocks.to_dense()[0, 0].bool(), used)
    assert not used.all()


@pytest.mark.parametrize("window", [(3, 9), (2, 9, 9), (3, 0, 9), (3, -1, 9)])
def test_a_window_without_a_centre_is_refused(window: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="odd numbers"):
        check_window(window)


def test_another_number_of_heads_or_tokens_is_refused() -> None:
    q, k, v = tokens(2, Grid(2, 3, 3))
    window = Window(1, 3, 3)
    with pytest.raises(UsageError, match="2 heads and 18 tokens"):
        routed_attention(q, k, v, ["frame"], Grid(2, 3, 3), window)
    with pytest.raises(UsageError, match="grid of 2x3x4"):
        routed_attention(q, k, v, ["frame"] * 2, Grid(2, 3, 4), window)


def test_training_may_use_the_masks_of_inference() -> None:
    grid, window = Grid(2, 11, 13), Window(1, 3, 3)
    x = torch.randn(1, 1, grid.tokens, 4)
    with torch.inference_mode():
        window_attention(x, x, x, grid, window)
    q = x.clone().requires_grad_()
    window_attention(q, x, x, grid, window).square().sum().backward()
    assert q.grad is not None
    assert q.grad.abs().sum() > 0
