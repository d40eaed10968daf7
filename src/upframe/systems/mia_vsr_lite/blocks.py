"""Which blocks of windows a step of MIA-VSR lite computes, and where their pixels are.

Blocks are squares of windows, all of the same size. Those at the right and the bottom
edge of a map that is no multiple of them are moved inwards, over their neighbours, so
that no block holds anything but pixels of the map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.systems.mia_vsr_lite.motion import PATCH

SETTLE = 4
"""Computations of a static window until it is settled."""
_MAX_ERROR = 2.0**23
"""Up to here float32 counts exactly."""

# Shape letters: h w size of the map in pixels, V its windows in reading order, B its
# blocks, K of them chosen, m windows and a = 8m pixels along a block.


class Blocks(NamedTuple):
    """Chosen blocks and the rows of their pixels in a table (h * w + 1, C).

    The last row of a table stands for what is outside.
    """

    windows: Tensor
    """(K, m²) int64: their windows."""
    own: Tensor
    """(K, a²) int64: rows of their pixels."""
    near: Tensor
    """(K, (a + 2)²): and of one pixel around."""
    wide: Tensor
    """(K, (a + 4)²): and of two pixels around."""
    height: int
    """Of the map."""
    width: int
    """Of the map."""

    def select(self, some: Tensor) -> Blocks:
        """Those at some of the places 0 to K - 1."""
        windows, own, near, wide = (part.index_select(0, some) for part in self[:4])
        return Blocks(windows, own, near, wide, self.height, self.width)


class Choice(NamedTuple):
    """What a step computes."""

    windows: Tensor
    """(K, m²) int64: windows of the chosen blocks, the most urgent block first."""
    block_stats: Tensor
    """(2, V): accumulated error, and computations while static, after the step."""


def choose(
    frames: Tensor,
    missed: Tensor,
    refresh: Tensor,
    keep_ratio: Tensor,
    block_stats: Tensor,
    side: int,
) -> Choice:
    """Choose by the frames alone.

    Args:
        frames: (3, h, w, 3) previous, current and next frame.
        missed: (h * w, 3) how far the moved previous frame is off.
        refresh: () bool: choose all blocks.
        keep_ratio: () largest share of the frame's pixels in chosen blocks; below 0
            all that hold a window which is not settled.
        block_stats: (2, V) of the previous step.
        side: pixels along a block, a multiple of 8.
    """
    down, across = frames.shape[1] // PATCH, frames.shape[2] // PATCH
    apart = (frames[1:] - frames[:-1]).abs()
    moved = torch.maximum(apart[0], apart[1]).reshape(-1, PATCH * 3).amax(dim=1)
    stirred = moved.reshape(down, PATCH, across).amax(dim=1)
    stirred = F.max_pool2d(stirred[None, None], 3, 1, 1).flatten() > 0
    # whole grey levels, so that no rounding decides which of two blocks is first
    levels = (missed * 255).round().reshape(-1, PATCH * 3).sum(dim=1)
    levels = levels.reshape(down, PATCH, across).sum(dim=1).flatten()
    accumulated_error = (block_stats[0] + levels).clamp(max=_MAX_ERROR)
    static_steps = torch.where(
        stirred | refresh, torch.zeros_like(accumulated_error), block_stats[1]
    )
    windows = _windows(down, across, side // PATCH, frames.device)
    due = (static_steps < SETTLE)[windows].any(dim=1)
    owed = accumulated_error[windows].sum(dim=1)
    urgency = torch.where(due, owed, -torch.ones_like(owed)).long()
    place = torch.arange(windows.shape[0], device=frames.device)
    order = torch.sort(urgency * windows.shape[0] - place, descending=True).indices
    # moved blocks overlap: their pixels are counted, not the blocks
    pixels = frames.shape[1] * frames.shape[2]
    most = torch.where(
        refresh | (keep_ratio < 0) | (keep_ratio >= 1),
        torch.full_like(keep_ratio, 2.0),
        keep_ratio,
    )
    take = (place < (most * pixels / side**2).round()) & due.index_select(0, order)
    chosen = windows.index_select(0, order.index_select(0, take.nonzero()[:, 0]))
    computed = marks(chosen, accumulated_error)
    return Choice(
        chosen,
        torch.stack((accumulated_error * (1 - computed), static_steps + computed)),
    )


def marks(windows: Tensor, like: Tensor) -> Tensor:
    """(V,), the shape of ``like``: 1 at the numbers of windows, else 0."""
    places = windows.reshape(-1)
    return torch.zeros_like(like).index_put((places,), torch.ones_like(places).to(like))


def blocks(windows: Tensor, side: int, h: int, w: int) -> Blocks:
    """Where the pixels of blocks are.

    Args:
        windows: (K, m²) of :class:`Choice`.
        side: pixels along a block.
        h: height of the map.
        w: its width.
    """
    across = w // PATCH
    around = torch.arange(-2, side + 2, device=windows.device)
    y = (windows[:, :1] // across * PATCH + around)[:, :, None]
    x = (windows[:, :1] % across * PATCH + around)[:, None, :]
    within = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    wide = torch.where(within, y * w + x, h * w)
    own, near = wide[:, 2:-2, 2:-2], wide[:, 1:-1, 1:-1]
    return Blocks(
        windows,
        own.reshape(-1, side**2),
        near.reshape(-1, (side + 2) ** 2),
        wide.reshape(-1, (side + 4) ** 2),
        h,
        w,
    )


def _windows(down: int, across: int, m: int, device: torch.device) -> Tensor:
    """(B, m²) int64: the windows of all blocks."""
    top = (torch.arange((down + m - 1) // m, device=device) * m).clamp(max=down - m)
    left = (torch.arange((across + m - 1) // m, device=device) * m).clamp(
        max=across - m
    )
    corner = (top[:, None] * across + left).reshape(-1, 1, 1)
    step = torch.arange(m, device=device)
    return (corner + (step[:, None] * across + step)).reshape(-1, m * m)
