"""Motion of patches by block matching: whole pixels, nothing learned.

An optical flow network costs more than a small super-resolution network. Alignment of
whole patches (Shi et al., "Rethinking Alignment in Video Super-Resolution
Transformers", NeurIPS 2022) needs one whole-pixel vector per patch, which a two-level
search by absolute differences finds for a hundredth of the work. Vectors that matter
little, in flat areas, tend to zero.

Everything is made of slices, gathers and pooling, so that it also runs where the
network is exported to. Displacements are tried a column of them at a time, whose
differences a processor's cache holds: three times as fast as all at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 8
"""Side of a patch in pixels; maps are a multiple of it."""
REACH = 10
"""Longest displacement that is found, in pixels, down and across."""

_COARSE = 4
"""Displacements tried on the map of half the size, in its pixels, each way."""
_FINE = 2
"""Displacements tried around twice the coarse one, in pixels, each way."""
_EFFORT = 5e-4
"""Cost of a pixel of displacement, in grey levels (0 to 1) per pixel of the patch."""


def patch_motion(here: Tensor, there: Tensor) -> Tensor:
    """Where each patch of one frame lies in another.

    Args:
        here: (B, 3, h, w), RGB in [0, 1]; h and w multiples of 8.
        there: the same size.

    Returns:
        (B, h/8, w/8, 2) int64: rows and columns, at most 10 each way, to add to a
        pixel's place in ``here`` to find it in ``there``.
    """
    here, there = (x.mean(dim=1, keepdim=True) for x in (here, there))
    coarse = _search_halves(F.avg_pool2d(here, 2), F.avg_pool2d(there, 2))
    return _refine(here[:, 0], there[:, 0], 2 * coarse)


def aligned_rows(motion: Tensor) -> Tensor:
    """Which pixel of the other frame each pixel takes.

    Args:
        motion: (B, h/8, w/8, 2) of :func:`patch_motion`.

    Returns:
        (B, h * w) int64: indices into the flattened (h, w) map; what would lie outside
        takes the nearest pixel inside.
    """
    b, down, across = motion.shape[:3]
    h, w = down * PATCH, across * PATCH
    y = torch.arange(h, device=motion.device).view(down, PATCH, 1)
    x = torch.arange(w, device=motion.device).view(across, PATCH)
    rows = (y + motion[:, :, None, :, 0]).clamp(0, h - 1) * w
    columns = (x + motion[..., None, 1]).clamp(0, w - 1)
    return (rows[..., None] + columns[:, :, None]).view(b, h * w)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Pixels of a map in another order.

    Args:
        x: (B, C, h, w).
        rows: (B, h * w) of :func:`aligned_rows`.

    Returns:
        (B, C, h, w), channels last in memory.
    """
    b, c, h, w = x.shape
    first = torch.arange(b, device=x.device)[:, None] * (h * w)
    flat = x.permute(0, 2, 3, 1).reshape(b * h * w, c)
    taken = flat.index_select(0, (rows + first).flatten())
    return taken.view(b, h, w, c).permute(0, 3, 1, 2)


def _starts(reach: int, length: int, device: torch.device) -> Tensor:
    """((2 reach + 1) * length,): rows of one displacement after the other."""
    steps = torch.arange(2 * reach + 1, device=device)
    return (steps[:, None] + torch.arange(length, device=device)).reshape(-1)


def _vectors(reach: int, device: torch.device) -> Tensor:
    """((2 reach + 1)², 2): all displacements, down and across, row by row."""
    steps = torch.arange(-reach, reach + 1, device=device)
    side = len(steps)
    return torch.stack(
        (steps.repeat_interleave(side), steps.repeat(side)),
        dim=1,
    )


def _search_halves(here: Tensor, there: Tensor) -> Tensor:
    """Best displacement of each 4×4 patch and what surrounds it, exhaustively.

    Args:
        here: (B, 1, h/2, w/2).
        there: the same.

    Returns:
        (B, h/8, w/8, 2) int64.
    """
    b, _, h, w = here.shape
    side = 2 * _COARSE + 1
    wide = F.pad(there, (_COARSE,) * 4, mode="replicate")[:, 0]
    starts = _starts(_COARSE, h, here.device)
    costs = []
    for column in range(side):
        moved = wide[:, :, column : column + w].index_select(1, starts)
        apart = (moved.view(b, side, h, w) - here).abs()
        # 8×8 around each patch, by way of 2×2
        cost = F.avg_pool2d(apart, 2)
        costs.append(
            F.avg_pool2d(cost, 4, stride=2, padding=1, count_include_pad=False)
        )
    cost = torch.stack(costs, dim=2).flatten(1, 2)
    vectors = _vectors(_COARSE, here.device)
    effort = 2 * _EFFORT * vectors.abs().sum(dim=1)
    best = (cost + effort[:, None, None]).argmin(dim=1)
    return vectors[best]


def _refine(here: Tensor, there: Tensor, start: Tensor) -> Tensor:
    """Best displacement of each 8×8 patch near a first guess.

    Patches come last, so that all of them are shifted by one copy.

    Args:
        here: (B, h, w).
        there: the same.
        start: (B, h/8, w/8, 2) int64.

    Returns:
        (B, h/8, w/8, 2) int64.
    """
    b, down, across = start.shape[:3]
    h, w = down * PATCH, across * PATCH
    device = here.device
    own = here.view(b, down, PATCH, across, PATCH).permute(2, 4, 0, 1, 3)
    own = own.reshape(PATCH, PATCH, -1)
    inside = torch.arange(-_FINE, PATCH + _FINE, device=device)[:, None, None, None]
    rows = torch.arange(down, device=device)[:, None] * PATCH + start[..., 0]
    columns = torch.arange(across, device=device) * PATCH + start[..., 1]
    first = torch.arange(b, device=device).view(b, 1, 1) * (h * w)
    rows = (rows + inside).clamp(0, h - 1) * w + first
    columns = (columns + inside).clamp(0, w - 1)
    places = rows[:, None] + columns
    around = there.flatten().gather(0, places.flatten())
    around = around.view(PATCH + 2 * _FINE, PATCH + 2 * _FINE, -1)
    side = 2 * _FINE + 1
    starts = _starts(_FINE, PATCH, device)
    costs = []
    for column in range(side):
        moved = around[:, column : column + PATCH].index_select(0, starts)
        apart = (moved.view(side, PATCH, PATCH, -1) - own).abs()
        costs.append(apart.mean(dim=(1, 2)))
    apart = torch.stack(costs, dim=1).reshape(side * side, -1)
    vectors = _vectors(_FINE, device)
    begin, step = start.reshape(-1, 2).t().to(here), vectors.t().to(here)
    total = (begin[:, None] + step[:, :, None]).abs().sum(dim=0)
    best = (apart + _EFFORT * total).argmin(dim=0)
    return (start.reshape(-1, 2) + vectors[best]).view(b, down, across, 2)
