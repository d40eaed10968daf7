"""MIA-VSR lite, frame by frame outside training: what has not changed costs nothing.

``MIAVSRLite.step`` computes whole maps. Here a step first decides what it computes at
all, from the frames alone, in blocks of 16×16 pixels (8×8 in a network with learned
masks, which are of that size):

* A window of 8×8 is *static* while neither it nor its neighbours differ between the
  previous, the current and the next frame. After ``SETTLE`` computations while static
  it is settled: the recurrence has converged there. A block of settled windows is
  computed no more.
* With a keep ratio at most that share of blocks is computed, those with the largest
  *accumulated error*: the sum, over the frames since a window was last computed, of how
  badly the previous frame, moved along the motion, predicts it.

Where a block is not computed, the detail and the hidden state of the previous frame are
moved along the motion; the bicubic-like base is always that of the current frame.
Inside the groups, a network trained with masks drops further windows by its own
threshold and reuses what it remembers, as ``MIAVSRLite.step`` does.

The input of every convolution is remembered. Computed blocks are put into it, then
gathered with a border of one pixel into a batch of small tiles and convolved without
padding: so no pixel is computed twice for the sake of a neighbour. All maps are tables
of pixels (`upframe.systems.mia_vsr_lite.layers`). What a step costs beside its blocks
is the search for motion, the base, and moving two tables. One clip at a time.
Everything is made of operations that ONNX has, for any number of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite.blocks import Blocks, blocks, choose, marks
from upframe.systems.mia_vsr_lite.convolutions import (
    Coding,
    Convolution,
    Convolutions,
    before_shuffle,
)
from upframe.systems.mia_vsr_lite.groups import Group
from upframe.systems.mia_vsr_lite.layers import (
    DETAIL,
    as_map,
    as_table,
    attended,
    from_windows,
    motion_rows,
    to_windows,
    upscaled,
)
from upframe.systems.mia_vsr_lite.motion import PATCH
from upframe.systems.mia_vsr_lite.network import LiteNetwork
from upframe.systems.mia_vsr_lite.tables import Tables, put_rows, take_rows

BLOCK = 16
"""Side of what is computed or not, in pixels, without learned masks. Tiles of 8 with
their border are 1.56 times their pixels, those of 16 1.27 times."""

# Shape letters: P = h * w + 1 rows of a table, the last one zero; C channels, V windows
# of the map in reading order, K blocks computed, N pixels of each.


class Memory(NamedTuple):
    """What is carried from frame to frame."""

    hidden: Tensor
    """(P, C) state of the recurrence, in codes."""
    detail: Tensor
    """(h * w, 48): what the network adds to the base, in codes; row, column, colour."""
    block_stats: Tensor
    """(2, V): accumulated error, and computations while static."""
    inputs: tuple[Tensor, ...]
    """(P, C) codes: what ``conv_fuse`` was given beside the hidden state, then what
    each convolution of each group was; with masks, the first of each pair."""
    deltas: tuple[Tensor, ...]
    """(P, C) for each residual of each group: what it added to its input; none in a
    network without masks."""
    norms: tuple[Tensor, ...]
    """(P, C) for each group: normalised input; none in a network without masks."""


class Outcome(NamedTuple):
    """What a step gives."""

    frame: Tensor
    """(1, 4h, 4w, 3), RGB."""
    memory: Memory
    computed: Tensor
    """(1 + groups, V): 1 where windows were computed, by the step and by each group."""
    moved: tuple[Tensor, Tensor]
    """The memory's hidden state and detail before the blocks were put in: where outputs
    of a graph are given memory, each can have that of its successor."""


class StreamStep(nn.Module):
    """One frame of one clip.

    Args:
        network: in eval mode.
        whole_maps: share of blocks from which convolutions run on the whole map; above
            1 never. Results are the same up to rounding.
        overwrite: whether a step may write into the memory that it is given.
        convolutions: of the network; None for those in float.
    """

    def __init__(
        self,
        network: LiteNetwork,
        whole_maps: float = 2.0,
        overwrite: bool = False,
        convolutions: Convolutions | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.convolutions = convolutions or Convolutions(network)
        self.base = before_shuffle(network.base)
        self.whole_maps = whole_maps
        self.overwrite = overwrite
        self.side = PATCH if network.use_mask else BLOCK

    def start(self, height: int, width: int) -> Memory:
        """The memory before the first frame; the step after it must refresh.

        Args:
            height: of the frames, a multiple of 8, at least 16.
            width: of the frames, the same.
        """
        like = self.network.conv_first.weight
        convs, dim = self.convolutions, self.network.dim
        pixels, groups = height * width, self._groups()
        pairs = [pair for i in range(len(groups)) for pair in convs.pairs(i)]
        masked = self.network.use_mask

        def table(
            coding: Coding, rows: int = pixels + 1, channels: int = dim
        ) -> Tensor:
            return like.new_full((rows, channels), coding.zero, dtype=coding.dtype)

        remembered = (
            [one for one, _ in pairs] if masked else [c for p in pairs for c in p]
        )
        return Memory(
            hidden=table(convs.last.before),
            detail=table(convs.last.after, pixels, DETAIL),
            block_stats=like.new_zeros(2, pixels // PATCH**2),
            inputs=tuple(table(c.before) for c in (convs.fuse, *remembered)),
            deltas=tuple(table(Coding()) for _ in (*pairs, *groups) if masked),
            norms=tuple(table(Coding()) for _ in groups if masked),
        )

    def forward(
        self,
        frames: Tensor,
        first: Tensor,
        refresh: Tensor,
        keep_ratio: Tensor,
        memory: Memory,
    ) -> Outcome:
        """Upscale a frame, clipped to [0, 1]; see :meth:`step`."""
        outcome = self.step(frames, first, refresh, keep_ratio, memory)
        return outcome._replace(frame=outcome.frame.clamp(0, 1))

    def step(
        self,
        frames: Tensor,
        first: Tensor,
        refresh: Tensor,
        keep_ratio: Tensor,
        memory: Memory,
    ) -> Outcome:
        """Upscale a frame, not clipped.

        Args:
            frames: (3, h, w, 3) previous, current and next frame, RGB in [0, 1]; h and
                w multiples of 8, at least 16; where there is none, the current one
                again.
            first: () bool: there is no previous frame.
            refresh: () bool: compute all blocks; so must the first step.
            keep_ratio: () largest share of blocks to compute; below 0 all that are not
                settled.
            memory: of the previous step.
        """
        h, w = frames.shape[1], frames.shape[2]
        convs = self.convolutions
        pixels = F.pad(frames.reshape(3, h * w, 3), (0, 0, 0, 1))
        rows, later = motion_rows(frames)
        detail = memory.detail.index_select(0, rows)
        outside = torch.zeros_like(rows[:1]) + h * w
        rows, later = torch.cat((rows, outside)), torch.cat((later, outside))
        before = pixels[0].index_select(0, rows)
        missed = (pixels[1] - before).abs()[:-1]
        chosen, block_stats = choose(
            frames, missed, refresh, keep_ratio, memory.block_stats, self.side
        )
        area = blocks(chosen, self.side, h, w)
        aligned_inputs = torch.cat(
            (pixels[1], before, pixels[2].index_select(0, later)), dim=1
        )
        aligned_inputs = convs.first.before.encode(aligned_inputs)
        hidden = memory.hidden.index_select(0, rows)
        inputs, deltas, norms = (Tables(part, self.overwrite) for part in memory[3:])
        entry = self._enter(aligned_inputs, hidden, area, inputs)
        state = convs.last.before
        past = torch.where(first, entry, state.decode(take_rows(hidden, area.own)))
        if self.network.use_mask:
            x, used = self._masked(entry, past, area, refresh, inputs, deltas, norms)
        else:
            x = self._unmasked(entry, past, area, inputs)
            used = [chosen] * len(self._groups())
        moved = hidden, detail
        hidden = put_rows(hidden, area, state.encode(x))
        made = self._convolved(convs.last, hidden, area)
        detail = put_rows(detail, area, as_table(made, DETAIL))
        now = frames[1:2].permute(0, 3, 1, 2)
        whole = upscaled(self.base, now, convs.last.after.decode(detail))
        masks = torch.stack(
            [marks(windows, block_stats[0]) for windows in (chosen, *used)]
        )
        tables = (tuple(part.after) for part in (inputs, deltas, norms))
        return Outcome(
            whole, Memory(hidden, detail, block_stats, *tables), masks, moved
        )

    def _groups(self) -> Sequence[Group]:
        return list(self.network.groups)  # type: ignore[arg-type]

    def _enter(
        self, aligned_inputs: Tensor, hidden: Tensor, area: Blocks, inputs: Tables
    ) -> Tensor:
        """What the groups are given, (K * N, C).

        Args:
            aligned_inputs: (P, 9) aligned frames, in codes.
            hidden: (P, C) moved hidden state, in codes.
            area: the blocks.
            inputs: of the convolutions.
        """
        convs = self.convolutions
        made = self._convolved(convs.first, aligned_inputs, area)
        table = inputs.put(area, self._next(convs.first, made, convs.fuse))
        fused = self._made(convs.fuse, table, area)
        # added as rows: graphs cannot add convolved tiles of which there are none
        return fused + self._made(convs.fuse_hidden, hidden, area)

    def _unmasked(
        self, x: Tensor, past: Tensor, area: Blocks, inputs: Tables
    ) -> Tensor:
        """All groups of a network without masks.

        Args:
            x: (K * N, C) of the blocks.
            past: (K * N, C) of them, the moved hidden state.
            area: the blocks.
            inputs: of the convolutions.

        Returns:
            (K * N, C).
        """
        dim = self.network.dim
        for i, group in enumerate(self._groups()):
            for one, other in self.convolutions.pairs(i):
                table = inputs.put(area, one.before.encode(x))
                middle = self._next(one, self._convolved(one, table, area), other)
                x = x + self._made(other, inputs.put(area, middle), area)
            tokens, before = (to_windows(rows, self.side, dim) for rows in (x, past))
            x = from_windows(attended(group, tokens, before), self.side, dim)
        return x

    def _masked(
        self,
        x: Tensor,
        past: Tensor,
        area: Blocks,
        refresh: Tensor,
        inputs: Tables,
        deltas: Tables,
        norms: Tables,
    ) -> tuple[Tensor, list[Tensor]]:
        """All groups of a network with masks, each with some of the windows.

        Args:
            x: (K * N, C) of the windows.
            past: (K * N, C) of them, the moved hidden state.
            area: the windows.
            refresh: as for :meth:`forward`.
            inputs: of the pairs of convolutions.
            deltas: of the residuals.
            norms: of the groups.

        Returns:
            (K * N, C), and the numbers of the windows that each group computed.
        """
        used: list[Tensor] = []
        for i, group in enumerate(self._groups()):
            now = group.norm_mask(x)
            change = self._by_window(now - take_rows(norms.next, area.own)).abs()
            norms.put(area, now)
            score = group.predmask.rnn(change.mean(dim=1))[:, 0]
            needed = (score >= 0) & (change.amax(dim=(1, 2)) > 0) | refresh
            some = needed.nonzero()[:, 0]
            part = area.select(some)
            used.append(part.windows)
            for one, other in self.convolutions.pairs(i):
                made = self._pair(
                    one, other, inputs.put(area, one.before.encode(x)), part
                )
                x = x + take_rows(deltas.put(part, made), area.own)
            tokens, before = (
                self._by_window(rows).index_select(0, some) for rows in (x, past)
            )
            made = attended(group, tokens, before) - tokens
            made = made.reshape(-1, self.network.dim)
            x = x + take_rows(deltas.put(part, made), area.own)
        return x, used

    def _by_window(self, rows: Tensor) -> Tensor:
        """(K * N, C) of windows to (K, N, C)."""
        return rows.reshape(-1, PATCH**2, self.network.dim)

    def _whole(self, area: Blocks) -> bool:
        if self.whole_maps > 1:
            return False
        pixels = area.own.shape[0] * self.side**2
        return pixels >= self.whole_maps * area.height * area.width

    def _convolved(self, conv: Convolution, table: Tensor, area: Blocks) -> Tensor:
        """(K, C', a, a): a convolution of a table (P, C), of the blocks, in codes."""
        if self._whole(area):
            x = as_map(table[:-1], area.height, area.width, conv.inner)
            rows = as_table(conv(x, padding=1), conv.outer)
            return as_map(take_rows(rows, area.own), self.side, self.side, conv.outer)
        side = self.side + 2
        x = as_map(take_rows(table, area.near), side, side, conv.inner)
        made: Tensor = conv(x, padding=0)
        return made

    def _made(self, conv: Convolution, table: Tensor, area: Blocks) -> Tensor:
        """(K * N, C'): a convolution of a table of codes (P, C), of the blocks."""
        made = self._convolved(conv, table, area)
        return conv.after.decode(as_table(made, conv.outer))

    def _next(self, conv: Convolution, made: Tensor, following: Convolution) -> Tensor:
        """(K * N, C): from codes (K, C, a, a) of one convolution, through a leaky ReLU,
        to those of another."""
        values = F.leaky_relu(conv.after.decode(made), 0.1)
        return as_table(following.before.encode(values), following.inner)

    def _pair(
        self, one: Convolution, other: Convolution, table: Tensor, area: Blocks
    ) -> Tensor:
        """(K * N, C): two convolutions of a table (P, C), of windows.

        The first one also computes a pixel around each: what a neighbour was given may
        have changed although the group drops it, which leaves its own result behind.
        """
        dim, whole = self.network.dim, self._whole(area)
        if whole:
            x = as_map(table[:-1], area.height, area.width, dim)
        else:
            side = self.side + 4
            x = as_map(take_rows(table, area.wide), side, side, dim)
        x = one.after.decode(one(x, padding=int(whole)))
        x = F.leaky_relu(x, 0.1)
        if not whole:
            inside = area.near != area.height * area.width
            x = x * as_map(inside.to(x), side - 2, side - 2, 1)
        x = other(other.before.encode(x), padding=int(whole))
        rows = other.after.decode(as_table(x, dim))
        return take_rows(rows, area.own) if whole else rows
