"""MIA-VSR lite, frame by frame outside training: what has not changed costs nothing.

``MIAVSRLite.step`` computes whole maps. Here a step first decides which 8×8 windows it
computes at all, from the frames alone:

* A window is *calm* while neither it nor its neighbours differ between the previous,
  the current and the next frame. After ``SETTLE`` computations in calm it is settled
  and computed no more: the recurrence has come to rest there.
* With a keep ratio at most that share of windows is computed, those with the largest
  *debt*: the sum, over the frames since a window was last computed, of how badly the
  previous frame, moved along the motion, predicts it.

Where a window is not computed, the detail and the hidden state of the previous frame
are moved along the motion; the bicubic-like base is always that of the current frame.
Inside the groups, a network trained with masks drops further windows by its own
threshold and reuses what it remembers, as ``MIAVSRLite.step`` does.

Computed windows are gathered with a border of two pixels into a batch of small tiles,
convolved without padding, and scattered back. All maps are tables of pixels in reading
order, (h * w + 1, C); their last row is zero and stands for what is outside. One clip
at a time. Everything is made of operations that ONNX has, for any number of windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.nn.motion import PATCH, aligned_rows, patch_motion
from upframe.systems.mia_vsr_lite import SCALE, Group, MIAVSRLite, WindowAttention

SETTLE = 4
"""Computations of a calm window until it is settled."""
_MOST_DEBT = 2.0**23
"""Up to here float32 counts exactly."""

# Shape letters: P = h * w + 1 rows of a table, C channels, V windows of the map in
# reading order, K of them computed, N = 64 pixels of a window.


class Memory(NamedTuple):
    """What is carried from frame to frame."""

    hidden: Tensor
    """(P, C) state of the recurrence."""
    detail: Tensor
    """(P, 48): what the network adds to the base; channels are row, column, colour."""
    entry: Tensor
    """(P, C) input of the groups."""
    deltas: tuple[Tensor, ...]
    """(P, C) for each residual of each group: what it added to its input."""
    norms: tuple[Tensor, ...]
    """(P, C) for each group: normalised input; none in a network without masks."""
    books: Tensor
    """(2, V): debt, and computations in calm."""


class Windows(NamedTuple):
    """Windows of a map and the rows of their pixels."""

    number: Tensor
    """(K,) int64."""
    own: Tensor
    """(K, 8, 8) rows of their pixels."""
    near: Tensor
    """(K, 12, 12) rows of their pixels and of two pixels around."""
    inside: Tensor
    """(K, C, 10, 10): 0 where the pixels and one around are outside the map, else 1."""


class Outcome(NamedTuple):
    """What a step gives."""

    picture: Tensor
    """(1, 4h, 4w, 3), in [0, 1]."""
    memory: Memory
    computed: Tensor
    """(1 + groups, V): 1 where windows were computed, by the step and by each group."""


class StreamStep(nn.Module):
    """One frame of one clip.

    Args:
        network: in eval mode.
        whole_maps: share of windows from which convolutions run on the whole map;
            above 1 never. Results are the same up to rounding.
    """

    order: Tensor
    ones: Tensor

    def __init__(self, network: MIAVSRLite, whole_maps: float = 2.0) -> None:
        super().__init__()
        self.network = network
        self.whole_maps = whole_maps
        self.register_buffer("order", _order(), persistent=False)
        self.register_buffer("ones", torch.ones(network.dim, 1, 1, 1), persistent=False)

    def start(self, height: int, width: int) -> Memory:
        """The memory before the first frame; the step after it must refresh.

        Args:
            height: of the frames, a multiple of 8.
            width: of the frames, a multiple of 8.
        """
        like = self.network.conv_first.weight
        dim, rows = self.network.dim, height * width + 1
        deltas = sum(len(group.convs) + 1 for group in self._groups())
        norms = len(self._groups()) if self.network.use_mask else 0
        empty = like.new_zeros(rows, dim)
        return Memory(
            hidden=empty,
            detail=like.new_zeros(rows, 3 * SCALE**2),
            entry=empty,
            deltas=(empty,) * deltas,
            norms=(empty,) * norms,
            books=like.new_zeros(2, height // PATCH * (width // PATCH)),
        )

    def forward(
        self,
        frames: Tensor,
        first: Tensor,
        refresh: Tensor,
        keep_ratio: Tensor,
        memory: Memory,
    ) -> Outcome:
        """Enlarge a frame.

        Args:
            frames: (3, h, w, 3) previous, current and next frame, RGB in [0, 1]; h and
                w multiples of 8; where there is none, the current one again.
            first: () bool: there is no previous frame.
            refresh: () bool: compute all windows; so must the first step.
            keep_ratio: () largest share of windows to compute; below 0 all that are
                not settled.
            memory: of the previous step.
        """
        h, w = frames.shape[1], frames.shape[2]
        planes = frames.permute(0, 3, 1, 2)
        before, now, after = planes[:1], planes[1:2], planes[2:]
        pixels = frames.reshape(3, h * w, 3)
        rows = aligned_rows(patch_motion(now, before))[0]
        later = aligned_rows(patch_motion(now, after))[0]
        moved = pixels[0].index_select(0, rows)
        looks = torch.cat((pixels[1], moved, pixels[2].index_select(0, later)), dim=1)
        kept, books = self._choose(
            frames, (pixels[1] - moved).abs(), refresh, keep_ratio, memory.books
        )
        rows = torch.cat((rows, torch.zeros_like(rows[:1]) + h * w))
        chosen = self._windows(kept, h, w)
        hidden = memory.hidden.index_select(0, rows)
        entry = self._enter(_with_zero(looks), hidden, chosen, memory.entry, (h, w))
        past = torch.where(first, entry, hidden)
        x, deltas, norms, used = self._through_groups(
            entry, past, chosen, memory, refresh, (h, w)
        )
        hidden = _scatter(hidden, chosen.own, _gather(x, chosen.own))
        detail = _scatter(
            memory.detail.index_select(0, rows),
            chosen.own,
            self._leave(hidden, chosen, (h, w)),
        )
        picture = _picture(
            self.network.base, self.order, now, _as_map(detail[: h * w], h, w)
        )
        marks = [_marks(index, h * w // PATCH**2, detail) for index in used]
        state = Memory(hidden, detail, entry, deltas, norms, books)
        return Outcome(picture, state, torch.stack(marks))

    def _groups(self) -> Sequence[Group]:
        return list(self.network.groups)  # type: ignore[arg-type]

    def _choose(
        self,
        frames: Tensor,
        missed: Tensor,
        refresh: Tensor,
        keep_ratio: Tensor,
        books: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Which windows are computed.

        Args:
            frames: (3, h, w, 3).
            missed: (h * w, 3) how far the moved previous frame is off.
            refresh: as for :meth:`forward`.
            keep_ratio: as for :meth:`forward`.
            books: of the previous step.

        Returns:
            Their numbers (K,), the most urgent first, and the books.
        """
        h, w = frames.shape[1], frames.shape[2]
        windows = (h // PATCH, PATCH, w // PATCH, PATCH)
        moved = (frames[1:] - frames[:-1]).abs().amax(dim=(0, 3))
        stirred = moved.reshape(windows).amax(dim=(1, 3))
        stirred = F.max_pool2d(stirred[None, None], 3, 1, 1).flatten() > 0
        # whole grey levels, so that no rounding decides which of two windows is first
        levels = (missed * 255).round().reshape(*windows, 3).sum(dim=(1, 3, 4))
        debt = (books[0] + levels.flatten()).clamp(max=_MOST_DEBT)
        calm = torch.where(stirred | refresh, torch.zeros_like(debt), books[1])
        due = calm < SETTLE
        count = debt.shape[0]
        place = torch.arange(count, device=debt.device)
        urgency = torch.where(due, debt, -torch.ones_like(debt)).long()
        order = torch.sort(urgency * count - place, descending=True).indices
        most = torch.where(
            refresh | (keep_ratio < 0), torch.ones_like(keep_ratio), keep_ratio
        )
        take = (place < (most * count).round()) & due.index_select(0, order)
        kept = order.index_select(0, take.nonzero()[:, 0])
        computed = _marks(kept, count, debt)
        return kept, torch.stack((debt * (1 - computed), calm + computed))

    def _windows(self, index: Tensor, h: int, w: int) -> Windows:
        """Where the pixels of windows are in the tables of an h × w map."""
        across = w // PATCH
        near = torch.arange(-2, PATCH + 2, device=index.device)
        top, left = (
            (index // across * PATCH)[:, None],
            (index % across * PATCH)[:, None],
        )
        y, x = (top + near)[:, :, None], (left + near)[:, None, :]
        within = (y >= 0) & (y < h) & (x >= 0) & (x < w)
        return Windows(
            index,
            _pixels_of(index, w),
            torch.where(within, y * w + x, h * w),
            F.conv2d(within[:, None, 1:-1, 1:-1].to(self.ones), self.ones),
        )

    def _whole(self, chosen: Windows, h: int, w: int) -> bool:
        if self.whole_maps > 1:
            return False
        return chosen.number.shape[0] * PATCH**2 >= self.whole_maps * h * w

    def _enter(
        self,
        looks: Tensor,
        hidden: Tensor,
        chosen: Windows,
        entry: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        """Input of the groups (P, C) from aligned frames (P, 9) and hidden (P, C)."""
        net = self.network
        first, fuse = net.conv_first, net.conv_fuse
        if self._whole(chosen, *size):
            feature = F.leaky_relu(first(_as_map(looks[:-1], *size)), 0.1)
            both = torch.cat((feature, _as_map(hidden[:-1], *size)), dim=1)
            made = _table(feature + fuse(both))
            return _scatter(entry, chosen.own, _gather(made, chosen.own))
        feature = F.leaky_relu(_inner(first, _tiles(looks, chosen.near)), 0.1)
        feature = feature * chosen.inside
        past = _tiles(hidden, chosen.near[:, 1:-1, 1:-1])
        fused = _inner(fuse, torch.cat((feature, past), dim=1))
        made = fused + feature[:, :, 1:-1, 1:-1]
        return _scatter(entry, chosen.own, _from_tiles(made))

    def _through_groups(
        self,
        x: Tensor,
        past: Tensor,
        chosen: Windows,
        memory: Memory,
        refresh: Tensor,
        size: tuple[int, int],
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...], list[Tensor]]:
        """All groups.

        Returns:
            Their result (P, C), what is remembered of each residual and of each
            normalised input, and the numbers of the windows that the step and each
            group computed.
        """
        deltas: list[Tensor] = []
        norms: list[Tensor] = []
        used = [chosen.number]
        for number, group in enumerate(self._groups()):
            windows = chosen
            if self.network.use_mask:
                now = group.norm_mask(_gather(x, chosen.own))
                old = memory.norms[number]
                change = (now - _gather(old, chosen.own)).abs()
                norms.append(_scatter(old, chosen.own, now))
                score = group.predmask.rnn(change.mean(dim=1))[:, 0]
                needed = (score >= 0) & (change.amax(dim=(1, 2)) > 0) | refresh
                some = needed.nonzero()[:, 0]
                windows = Windows(*(part.index_select(0, some) for part in chosen))
            used.append(windows.number)
            for part in (*group.convs, group):
                old = memory.deltas[len(deltas)]
                if part is group:
                    made = _added(
                        group, _gather(x, windows.own), _gather(past, windows.own)
                    )
                elif self._whole(windows, *size):
                    made = _gather(_table(part(_as_map(x[:-1], *size))), windows.own)
                else:
                    tiles = _tiles(x, windows.near)
                    middle = F.leaky_relu(_inner(part.conv1, tiles), 0.1)
                    middle = middle * windows.inside
                    made = _from_tiles(_inner(part.conv2, middle))
                deltas.append(_scatter(old, windows.own, made))
                x = x + deltas[-1]
        return x, tuple(deltas), tuple(norms), used

    def _leave(self, hidden: Tensor, chosen: Windows, size: tuple[int, int]) -> Tensor:
        """(K, N, 48): detail of windows."""
        weight, bias = _arranged(self.network.conv_last, self.order)
        if self._whole(chosen, *size):
            made = F.conv2d(_as_map(hidden[:-1], *size), weight, bias, padding=1)
            return _gather(_table(made), chosen.own)
        tiles = _tiles(hidden, chosen.near[:, 1:-1, 1:-1])
        return _from_tiles(F.conv2d(tiles, weight, bias))


class WholeStep(nn.Module):
    """One frame of one clip, all of it, remembering nothing but the hidden state.

    What ``MIAVSRLite.step`` computes without masks, arranged for speed outside torch.

    Args:
        network: in eval mode.
    """

    order: Tensor

    def __init__(self, network: MIAVSRLite) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", _order(), persistent=False)

    def forward(
        self, frames: Tensor, first: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Enlarge a frame.

        Args:
            frames: as for :class:`StreamStep`.
            first: () bool: there is no previous frame.
            hidden: (P, C) of the previous step; zeros for the first.

        Returns:
            (1, 4h, 4w, 3) in [0, 1], and the hidden state (P, C).
        """
        net = self.network
        h, w = frames.shape[1], frames.shape[2]
        planes = frames.permute(0, 3, 1, 2)
        before, now, after = planes[:1], planes[1:2], planes[2:]
        pixels = frames.reshape(3, h * w, 3)
        rows = aligned_rows(patch_motion(now, before))[0]
        later = aligned_rows(patch_motion(now, after))[0]
        looks = torch.cat(
            (
                pixels[1],
                pixels[0].index_select(0, rows),
                pixels[2].index_select(0, later),
            ),
            dim=1,
        )
        feature = F.leaky_relu(net.conv_first(_as_map(looks, h, w)), 0.1)
        moved = hidden.index_select(0, rows)
        both = torch.cat((feature, _as_map(moved, h, w)), dim=1)
        x = feature + net.conv_fuse(both)
        every = torch.arange(h * w // PATCH**2, device=rows.device)
        own = _pixels_of(every, w).reshape(-1)
        back = torch.zeros_like(own).index_put((own,), torch.arange(h * w).to(own))
        entered = _table(x).index_select(0, own).reshape(-1, PATCH**2, net.dim)
        past = moved.index_select(0, own).reshape(-1, PATCH**2, net.dim)
        past = torch.where(first, entered, past)
        table = moved
        for group in net.groups:
            for conv in group.convs:  # type: ignore[union-attr]
                x = x + conv(x)
            tokens = _table(x).index_select(0, own).reshape(-1, PATCH**2, net.dim)
            tokens = tokens + _added(group, tokens, past)  # type: ignore[arg-type]
            table = tokens.reshape(-1, net.dim).index_select(0, back)
            x = _as_map(table, h, w)
        detail = F.conv2d(x, *_arranged(net.conv_last, self.order), padding=1)
        return _picture(net.base, self.order, now, detail), _with_zero(table)


def restore(
    network: MIAVSRLite, frames: Tensor, keep_ratio: float
) -> tuple[Tensor, Tensor]:
    """Enlarge clips, computing at most a share of the windows.

    Args:
        network: in eval mode.
        frames: (B, T, 3, h, w), RGB in [0, 1]; h and w multiples of 8.
        keep_ratio: largest share from the second frame on, 0 to 1.

    Returns:
        (B, T, 3, 4h, 4w) in [0, 1], and the shares computed from the second frame on,
        (B * (T - 1),).
    """
    step = StreamStep(network)
    share = frames.new_tensor(keep_ratio)
    pictures, shares = [], []
    for clip in frames.permute(0, 1, 3, 4, 2):
        memory = step.start(clip.shape[1], clip.shape[2])
        last = len(clip) - 1
        for i in range(len(clip)):
            window = clip[[max(0, i - 1), i, min(last, i + 1)]]
            first = torch.tensor(i == 0, device=clip.device)
            picture, memory, computed = step(window, first, first, share, memory)
            pictures.append(picture[0].permute(2, 0, 1))
            if i:
                shares.append(computed[0].mean())
    out = torch.stack(pictures).reshape(*frames.shape[:3], *pictures[0].shape[1:])
    return out, torch.stack(shares) if shares else frames.new_zeros(0)


def _arranged(conv: nn.Conv2d, order: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias with the output channels in another order."""
    assert conv.bias is not None
    return conv.weight[order], conv.bias[order]


def _order() -> Tensor:
    """Channels of a pixel shuffle's input by row, column and colour."""
    return torch.tensor([c * SCALE**2 + p for p in range(SCALE**2) for c in range(3)])


def _picture(base: nn.Conv2d, order: Tensor, now: Tensor, detail: Tensor) -> Tensor:
    """(1, 3, h, w) and (1, 48, h, w) to (1, 4h, 4w, 3)."""
    h, w = now.shape[2], now.shape[3]
    wide = F.pad(now, (2, 2, 2, 2), mode="replicate")
    made = F.conv2d(wide, *_arranged(base, order)) + detail
    whole = made.permute(0, 2, 3, 1).clamp(0, 1)
    whole = whole.reshape(h, w, SCALE, 3 * SCALE).permute(0, 2, 1, 3)
    return whole.reshape(1, h * SCALE, w * SCALE, 3)


def _added(group: Group, tokens: Tensor, past: Tensor) -> Tensor:
    """(K, N, C): what attention and feed-forward add to the tokens of windows."""
    added = _attention(group.attn, group.norm1(tokens), group.norm1(past))
    result: Tensor = added + group.mlp(group.norm2(tokens + added))
    return result


def _pixels_of(index: Tensor, w: int) -> Tensor:
    """(K,) windows of a map w pixels wide to the rows of their pixels (K, 8, 8)."""
    across = w // PATCH
    place = torch.arange(PATCH, device=index.device)
    top, left = index // across * PATCH, index % across * PATCH
    y, x = top[:, None] + place, left[:, None] + place
    return y[:, :, None] * w + x[:, None, :]


def _as_map(table: Tensor, h: int, w: int) -> Tensor:
    """(h * w, C) to (1, C, h, w)."""
    return table.reshape(1, h, w, table.shape[1]).permute(0, 3, 1, 2)


def _attention(attn: WindowAttention, now: Tensor, past: Tensor) -> Tensor:
    """``attn.forward`` head by head, so that nothing is split or transposed.

    The bias of the keys changes all logits of a query alike, so it is left out; that of
    the values passes through the weights, which sum to one, and joins the projection's.
    """
    dim = now.shape[-1]
    width = dim // attn.heads
    both = torch.cat((past, now), dim=1)
    keys, values = attn.kv.weight[:dim], attn.kv.weight[dim:]
    proj = attn.proj.weight
    bias = attn.proj.bias + proj @ attn.kv.bias[dim:]
    places = attn.position_bias[attn.position_index]
    heads: list[Tensor] = []
    for head in range(attn.heads):
        part = slice(head * width, (head + 1) * width)
        q = F.linear(now, attn.q.weight[part], attn.q.bias[part]) * width**-0.5
        k = F.linear(both, keys[part])
        logits = q @ k.transpose(1, 2) + places[:, :, head]
        weight = values[part] if attn.heads > 1 else proj @ values
        heads.append(logits.softmax(dim=-1) @ F.linear(both, weight))
    if attn.heads == 1:
        alone: Tensor = heads[0] + bias
        return alone
    return F.linear(torch.cat(heads, dim=-1), proj, bias)


def _with_zero(table: Tensor) -> Tensor:
    """A row for what is outside."""
    return F.pad(table, (0, 0, 0, 1))


def _gather(table: Tensor, rows: Tensor) -> Tensor:
    """(P, C) and (K, 8, 8) to (K, 64, C)."""
    taken = table.index_select(0, rows.reshape(-1))
    return taken.reshape(-1, PATCH**2, table.shape[1])


def _tiles(table: Tensor, rows: Tensor) -> Tensor:
    """(P, C) and (K, a, a) to (K, C, a, a)."""
    taken = table.index_select(0, rows.reshape(-1))
    side = rows.shape[1]
    return taken.reshape(-1, side, side, table.shape[1]).permute(0, 3, 1, 2)


def _from_tiles(tiles: Tensor) -> Tensor:
    """(K, C, 8, 8) to (K, 64, C)."""
    return tiles.reshape(-1, tiles.shape[1], PATCH**2).transpose(1, 2)


def _scatter(table: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """A copy of (P, C) with (K, 64, C) in the (K, 8, 8) rows."""
    return table.index_put((rows.reshape(-1),), values.reshape(-1, table.shape[1]))


def _table(x: Tensor) -> Tensor:
    """(1, C, h, w) to (h * w, C)."""
    return x[0].flatten(1).transpose(0, 1)


def _inner(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution without its padding."""
    return F.conv2d(x, conv.weight, conv.bias)


def _marks(index: Tensor, count: int, like: Tensor) -> Tensor:
    """(count,): 1 at the numbers, else 0."""
    return like.new_zeros(count).index_put((index,), torch.ones_like(index).to(like))
