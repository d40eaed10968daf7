"""Layers of MIA-VSR lite as its steps compute them, and maps as tables of pixels.

A table is a map (1, C, h, w) as rows of pixels in reading order, (h * w, C), which is
how channels-last maps lie in memory. Results are those of ``MIAVSRLite`` up to
rounding; sums and products of weights alone are computed once. Numbers of channels
are given, not asked for: exported graphs would compute shapes over and over, and put
maps in another order only for that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.systems.mia_vsr_lite.convolutions import Convolution
from upframe.systems.mia_vsr_lite.groups import Group, WindowAttention
from upframe.systems.mia_vsr_lite.motion import PATCH, aligned_rows, patch_motion
from upframe.systems.mia_vsr_lite.network import SCALE

DETAIL = 3 * SCALE**2
"""Channels of what the network adds to the base."""

ALIGNED = 9
"""Channels of the current frame and, aligned with it, of the two beside it."""

# Shape letters: h w size, C channels, P rows of a table, K maps, V windows.


def as_map(table: Tensor, h: int, w: int, channels: int) -> Tensor:
    """(K * h * w, C) to (K, C, h, w)."""
    return table.reshape(-1, h, w, channels).permute(0, 3, 1, 2)


def as_table(x: Tensor, channels: int) -> Tensor:
    """(K, C, h, w) to (K * h * w, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, channels)


def with_zero(table: Tensor, zero: int = 0) -> Tensor:
    """(P, C) to (P + 1, C): a row for what is outside, of the code of 0."""
    return F.pad(table, (0, 0, 0, 1), value=zero)


def to_windows(table: Tensor, width: int, channels: int) -> Tensor:
    """Maps of a width, one below the other (P, C), to their windows (V, 64, C)."""
    rows = table.reshape(-1, PATCH, width // PATCH, PATCH * channels)
    return rows.transpose(1, 2).reshape(-1, PATCH**2, channels)


def from_windows(windows: Tensor, width: int, channels: int) -> Tensor:
    """The opposite of :func:`to_windows`."""
    rows = windows.reshape(-1, width // PATCH, PATCH, PATCH * channels)
    return rows.transpose(1, 2).reshape(-1, channels)


def motion_rows(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels of the current frame lie in the two others.

    Args:
        frames: (3, h, w, 3) previous, current and next frame.

    Returns:
        (h * w,) int64 each: rows of the previous and of the next frame's table.
    """
    planes = frames.permute(0, 3, 1, 2)
    now = planes[1:2]
    # both searches as one batch
    motion = patch_motion(torch.cat((now, now)), torch.cat((planes[:1], planes[2:])))
    rows = aligned_rows(motion)
    return rows[0], rows[1]


def attended(group: Group, tokens: Tensor, past: Tensor) -> Tensor:
    """Windows (V, 64, C) after attention and feed-forward."""
    tokens = tokens + _attention(group.attn, group.norm1(tokens), group.norm1(past))
    result: Tensor = tokens + group.mlp(group.norm2(tokens))
    return result


def upscaled(base: Convolution, now: Tensor, detail: Tensor) -> Tensor:
    """The upscaled frame, with detail.

    Args:
        base: the network's, by ``before_shuffle``.
        now: (1, 3, h, w) the current frame.
        detail: (h * w, 48); channels are row, column and colour.

    Returns:
        (1, 4h, 4w, 3), in [0, 1].
    """
    h, w = now.shape[2], now.shape[3]
    wide = F.pad(now, (2, 2, 2, 2), mode="replicate")
    whole = as_table(base(wide, padding=0), DETAIL) + detail
    whole = whole.reshape(h, w, SCALE, 3 * SCALE).permute(0, 2, 1, 3)
    # last, because a graph that ends with another shape copies it
    return whole.reshape(1, h * SCALE, w * SCALE, 3)


def _attention(attn: WindowAttention, now: Tensor, past: Tensor) -> Tensor:
    """``attn.forward`` head by head, so that nothing is split or transposed.

    The bias of the keys changes all logits of a query alike, so it is left out; those
    of the values and of the projection pass through the weights of the values, which
    sum to one, and are added to what they weigh.
    """
    dim = attn.proj.out_features
    width, tokens = dim // attn.heads, PATCH**2
    both = torch.cat((past, now), dim=1).reshape(-1, dim)
    now = now.reshape(-1, dim)
    keys, values = attn.kv.weight[:dim], attn.kv.weight[dim:]
    proj = attn.proj.weight
    bias = attn.proj.bias + proj @ attn.kv.bias[dim:]
    places = attn.position_bias[attn.position_index]
    heads: list[Tensor] = []
    for head in range(attn.heads):
        part = slice(head * width, (head + 1) * width)
        scale = width**-0.5
        q = F.linear(now, attn.q.weight[part] * scale, attn.q.bias[part] * scale)
        k = F.linear(both, keys[part])
        if attn.heads == 1:
            v = F.linear(both, proj @ values, bias)
        else:
            v = F.linear(both, values[part])
        q, k, v = (
            x.reshape(-1, n, x.shape[1])
            for x, n in ((q, tokens), (k, 2 * tokens), (v, 2 * tokens))
        )
        logits = q @ k.transpose(1, 2) + places[:, :, head]
        heads.append(logits.softmax(dim=-1) @ v)
    if attn.heads == 1:
        return heads[0]
    return F.linear(torch.cat(heads, dim=-1), proj, bias)
