"""Window attention for chosen tokens alone, shaped for a CPU. Inference only.

``dense(x)[chosen]`` and ``sparse(x, chosen)`` are the same numbers up to rounding; the
second costs nothing where nothing is chosen. Three things make it fast:

* Windows are sorted by how many of their tokens are chosen, and those of similar number
  are computed together as dense products with a few idle places; whole windows need not
  even gather. Windows without chosen tokens are never touched, nor are their keys and
  values.
* A token comes in normalised but without the normalisation's scale and offset, which
  differ from block to block; they are folded into the projections. So what several
  blocks share, the frames before, is normalised and cut into windows once.
* Where few tokens of a window are chosen, projecting all its keys and values costs more
  than the attention itself. There the projections move to the other side:
  ``q · (K x) = (Kᵀ q) · x`` and ``Σ a (V x) = V (Σ a x)``, once for each chosen token
  instead of once for each token of the window.

An augmented token is a normalised token followed by 1, or zeros alone for a place
outside the map. Outside places have, after the normalisation's offset, keys and values
of zero; the last number tells them apart from a token that happens to be zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr.windows import HIDDEN, Windows

_LOGITS_AT_ONCE = 2**20
"""Numbers in one batch of logits; a few megabytes stay in a core's cache."""
_SIMILAR = 0.75
"""Windows are computed together down to this share of the fullest one's tokens."""
_NEARLY = 0.75
"""Windows with a larger share of their tokens chosen are computed whole."""

# Shape letters: W windows, N = side² tokens of one frame in a window, L tokens in a
# window over all frames, S tokens of the map, C channels, D = C + 1, H heads.


def augment(x: Tensor, eps: float) -> Tensor:
    """Normalise tokens and mark them as being inside the map.

    Args:
        x: (..., C).
        eps: added to the variance.

    Returns:
        (..., C + 1): mean 0, variance 1, then 1.
    """
    out = x.new_empty(*x.shape[:-1], x.shape[-1] + 1)
    out[..., :-1] = F.layer_norm(x, x.shape[-1:], eps=eps)
    out[..., -1] = 1
    return out


@dataclass(frozen=True)
class Projections:
    """The linear layers of one block's attention, for augmented tokens."""

    heads: int
    query: Tensor
    """(D, C) with the scale of the logits."""
    key_value: Tensor
    """(D, 2C) without biases: that of the keys is the same for all of them, so softmax
    loses it; that of the values moves to the output, because attention sums to one."""
    out: Tensor
    """(C, C)."""
    out_bias: Tensor
    """(C,)."""

    @classmethod
    def fold(
        cls, norm: nn.LayerNorm, qkv: nn.Linear, out: nn.Linear, heads: int
    ) -> Projections:
        """Fold a layer normalisation into the layers that follow it.

        Args:
            norm: over C channels, with scale and offset.
            qkv: C to 3C channels, with a bias.
            out: C to C channels, with a bias.
            heads: of the attention.
        """
        dim = len(out.bias)
        # zeros outside the map have this bias alone, tokens inside the offset as well
        offset = torch.mv(qkv.weight, norm.bias)
        whole = torch.cat((qkv.weight * norm.weight, offset[:, None]), dim=1).t()
        # queries are always inside
        query = torch.cat((whole[:-1, :dim], whole[-1:, :dim] + qkv.bias[:dim]))
        return cls(
            heads=heads,
            query=query * (dim // heads) ** -0.5,
            key_value=whole[:, dim:],
            out=out.weight.t(),
            out_bias=out.bias + torch.mv(out.weight, qkv.bias[2 * dim :]),
        )

    def absorbed(self) -> tuple[Tensor, Tensor]:
        """Matrices that take queries to tokens' own space, and mixed tokens out of it.

        Returns:
            (D, H * D) and (H * D, C).
        """
        d, dim = self.query.shape
        per_head = (d, self.heads, dim // self.heads)
        query, key, value = (
            m.reshape(per_head).transpose(0, 1)
            for m in (self.query, *self.key_value.chunk(2, dim=1))
        )
        to_tokens = (query @ key.transpose(1, 2)).transpose(0, 1)
        to_output = value @ self.out.reshape(self.heads, -1, dim)
        return to_tokens.reshape(d, -1), to_output.reshape(-1, dim)


@dataclass(frozen=True)
class _Batch:
    """Windows that are computed together."""

    windows: Tensor
    """(k,) numbers of windows."""
    chosen: slice
    """Which of all chosen tokens are in them."""
    at: Tensor | None
    """(n,) where those are in the flattened (k, m) places of the batch; None if they
    are all of them, in order."""
    slots: Tensor | None
    """(k, m) which token of its window is in each place; None for all N in order."""
    edge: bool
    """Whether the windows hold tokens of opposite edges of the map."""


def attend(
    tokens: Tensor,
    past: Tensor,
    chosen: Tensor | None,
    windows: Windows,
    weights: Projections,
    bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attention of chosen tokens of a frame to their windows in this and past frames.

    Args:
        tokens: (S + 1, D) augmented tokens of the map, the last one outside (zero).
        past: (W, L - N, D) augmented windows of the frames before.
        chosen: (S,) bool; None for all tokens.
        windows: how the map is cut.
        weights: projections.
        bias: (N, H, L) added to the logits.

    Returns:
        Positions (n,) of the chosen tokens in the map, in no particular order, and
        their outputs (n, C).
    """
    rows = windows.rows
    if chosen is None:
        picked = rows < len(tokens) - 1
    else:
        picked = torch.cat((chosen, chosen.new_zeros(1)))[rows]
    counts = picked.sum(dim=1)
    order, edges = _sorted(counts, windows)
    picked = picked[order]
    rank, slot = picked.nonzero(as_tuple=True)
    positions = rows[order[rank], slot]
    values = tokens.new_empty(len(positions), weights.out.shape[1])
    absorbed: tuple[Tensor, Tensor] | None = None
    for batch in _batches(picked, rank, slot, order, counts[order], edges, bias.shape):
        k = len(batch.windows)
        here = rows[batch.windows]
        before = past.index_select(0, batch.windows)
        context = torch.cat((before, _take(tokens, here)), dim=1)
        if batch.slots is None:
            current = context[:, before.shape[1] :]
            added = bias[None]
        else:
            current = _take(tokens, here.gather(1, batch.slots))
            added = _take(bias, batch.slots)
        m = current.shape[1]
        if batch.edge:
            added = added + _apart(windows, batch, bias.shape[2], bias.dtype)
        if _absorbing_pays(m, tokens.shape[1], weights.heads, bias.shape[2]):
            absorbed = absorbed or weights.absorbed()
            mixed = _attend_to_tokens(current, context, added, absorbed[0])
            out = absorbed[1]
        else:
            mixed = _attend_to_keys(current, context, added, weights)
            out = weights.out
        mixed = mixed.reshape(k * m, -1)
        if batch.at is not None:
            mixed = mixed[batch.at]
        torch.addmm(weights.out_bias, mixed, out, out=values[batch.chosen])
    return positions, values


def _take(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` along the first axis, which torch copies faster this way."""
    flat = table.index_select(0, index.reshape(-1))
    return flat.view(*index.shape, *table.shape[1:])


def _sorted(counts: Tensor, windows: Windows) -> tuple[Tensor, int]:
    """Windows with chosen tokens, those of similar number beside each other.

    Args:
        counts: (W,) chosen tokens of each window.
        windows: how the map is cut.

    Returns:
        Their numbers, fullest first, those with opposite edges of the map after all
        others; and how many are no such windows.
    """
    n = windows.side**2
    key = n - counts
    if windows.edges is not None:
        key = key + windows.edges * (n + 1)
    order = key.argsort(stable=True)
    order = order[counts[order] > 0]
    inner = len(order)
    if windows.edges is not None:
        inner -= int(windows.edges[order].sum())
    return order, inner


def _batches(
    picked: Tensor,
    rank: Tensor,
    slot: Tensor,
    order: Tensor,
    counts: Tensor,
    inner: int,
    bias_shape: torch.Size,
) -> Iterator[_Batch]:
    """Cut the work into batches of similar windows that fit into the cache.

    Args:
        picked: (W, N) which tokens are chosen, windows as :func:`_sorted`.
        rank: (n,) the place in that order of each chosen token's window, ascending.
        slot: (n,) its place in the window, ascending inside a window.
        order: (W,) numbers of the windows.
        counts: (W,) their chosen tokens.
        inner: how many of them hold no opposite edges.
        bias_shape: N, H, L.
    """
    n, heads, length = bias_shape
    place = (picked.cumsum(dim=1) - 1)[rank, slot]
    sizes = counts.tolist()
    first, done = 0, 0
    while first < len(sizes):
        m = n if sizes[first] > _NEARLY * n else sizes[first]
        end = inner if first < inner else len(sizes)
        end = min(end, first + max(1, _LOGITS_AT_ONCE // (m * heads * length)))
        last = first + 1
        while last < end and sizes[last] >= _SIMILAR * m - 1:
            last += 1
        held = sum(sizes[first:last])
        part = slice(done, done + held)
        row, column = rank[part] - first, slot[part]
        slots = None
        if m < n:
            slots = column.new_zeros(last - first, m)
            slots[row, place[part]] = column
            column = place[part]
        full = held == (last - first) * m
        at = None if full else row * m + column
        yield _Batch(order[first:last], part, at, slots, first >= inner)
        first, done = last, done + held


def _apart(windows: Windows, batch: _Batch, length: int, dtype: torch.dtype) -> Tensor:
    """(k, m, 1, L): the usual -100 between opposite edges of the map, else 0."""
    assert windows.labels is not None
    labels = windows.labels[batch.windows]
    own = labels if batch.slots is None else labels.gather(1, batch.slots)
    apart = own[:, :, None, None] != labels[:, None, None, :]
    repeats = length // labels.shape[1]
    return apart.to(dtype).repeat(1, 1, 1, repeats) * HIDDEN


def _absorbing_pays(m: int, d: int, heads: int, length: int) -> bool:
    """Whether m queries are cheaper than the keys and values of a whole window.

    Counts multiply-adds per window.
    """
    projecting = 2 * length * d**2 + 2 * m * d**2 + 2 * length * d * m
    moving = 2 * heads * m * d**2 + 2 * length * d * m * heads
    return moving < projecting


def _attend_to_tokens(
    current: Tensor, context: Tensor, added: Tensor, to_tokens: Tensor
) -> Tensor:
    """Queries in the space of the tokens: no keys, no values.

    Args:
        current: (k, m, D).
        context: (k, L, D).
        added: (k or 1, m, H, L), left as it is only if it has one entry.
        to_tokens: (D, H * D).

    Returns:
        (k, m, H * D) mixed tokens.
    """
    k, m, d = current.shape
    query = (current.reshape(k * m, d) @ to_tokens).view(k, -1, d)
    logits = added.flatten(1, 2)
    logits = logits.repeat(k, 1, 1) if len(logits) == 1 else logits
    logits.baddbmm_(query, context.transpose(1, 2))
    return (logits.softmax(dim=-1) @ context).view(k, m, -1)


def _attend_to_keys(
    current: Tensor, context: Tensor, added: Tensor, weights: Projections
) -> Tensor:
    """Ordinary attention.

    Args:
        current: (k, m, D).
        context: (k, L, D).
        added: (k or 1, m, H, L).
        weights: projections.

    Returns:
        (k, m, C) mixed values.
    """
    k, m, d = current.shape
    length = context.shape[1]
    query = (current.reshape(k * m, d) @ weights.query).view(k, m, weights.heads, -1)
    both = context.reshape(k * length, d) @ weights.key_value
    key, value = both.view(k, length, 2, weights.heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key,
        value,
        attn_mask=added.permute(0, 2, 1, 3).expand(k, -1, -1, -1),
        scale=1.0,
    )
    return mixed.transpose(1, 2).reshape(k, m, -1)
