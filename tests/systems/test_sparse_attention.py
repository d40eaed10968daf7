"""Attention of chosen tokens against attention of all, written the plain way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from upframe.systems.mia_vsr.sparse_attention import Projections, attend, augment
from upframe.systems.mia_vsr.windows import Windows


def _plain(
    norm: nn.LayerNorm,
    qkv: nn.Linear,
    out: nn.Linear,
    x: Tensor,
    windows: Windows,
    bias: Tensor,
) -> Tensor:
    """(1, 3, h, w, C) to the attention's output (h * w, C) for the last frame."""
    heads = bias.shape[1]
    cut = qkv(windows.cut(norm(x)))
    q, k, v = cut.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    q = q[:, :, -(windows.side**2) :] * q.shape[-1] ** -0.5
    logits = q @ k.transpose(-2, -1) + bias.transpose(0, 1)
    mask = windows.mask(3, x.dtype)
    if mask is not None:
        logits = logits + mask[:, None]
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return windows.join(out(mixed)).flatten(0, 2)


@given(
    st.integers(8, 26),
    st.integers(8, 26),
    st.sampled_from(((4, 1), (4, 2), (8, 2), (8, 6))),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 1)),
    st.integers(0, 10_000),
)
def test_equals_plain_attention(
    h: int,
    w: int,
    sizes: tuple[int, int],
    shifted: bool,
    share: float | None,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    side, heads = sizes
    dim = 6 * heads
    norm = nn.LayerNorm(dim).double()
    qkv, out = nn.Linear(dim, 3 * dim).double(), nn.Linear(dim, dim).double()
    for parameter in (norm.weight, norm.bias, qkv.bias, out.bias):
        nn.init.normal_(parameter)
    windows = Windows(h, w, side, shifted=shifted)
    bias = torch.randn(side**2, heads, 3 * side**2).double()
    x = torch.randn(1, 3, h, w, dim).double()
    chosen = None if share is None else torch.rand(h * w) < share
    with torch.inference_mode():
        marked = augment(x, norm.eps)
        tokens = torch.cat((marked[0, 2].flatten(0, 1), marked.new_zeros(1, dim + 1)))
        weights = Projections.fold(norm, qkv, out, heads)
        positions, values = attend(
            tokens, windows.cut(marked[:, :2]), chosen, windows, weights, bias
        )
        wanted = _plain(norm, qkv, out, x, windows, bias)
    every = torch.arange(h * w) if chosen is None else chosen.nonzero()[:, 0]
    assert torch.equal(positions.sort().values, every)
    torch.testing.assert_close(values, wanted[positions], atol=1e-10, rtol=0)


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_single_precision_is_close(share: float) -> None:
    torch.manual_seed(1)
    norm, qkv, out = nn.LayerNorm(60), nn.Linear(60, 180), nn.Linear(60, 60)
    windows = Windows(40, 44, 8, shifted=True)
    bias = torch.randn(64, 6, 192)
    x = torch.randn(1, 3, 40, 44, 60)
    chosen = torch.rand(40 * 44) < share
    with torch.inference_mode():
        marked = augment(x, norm.eps)
        tokens = torch.cat((marked[0, 2].flatten(0, 1), marked.new_zeros(1, 61)))
        weights = Projections.fold(norm, qkv, out, 6)
        positions, values = attend(
            tokens, windows.cut(marked[:, :2]), chosen, windows, weights, bias
        )
        wanted = _plain(norm, qkv, out, x, windows, bias)
    torch.testing.assert_close(values, wanted[positions], atol=1e-5, rtol=0)
