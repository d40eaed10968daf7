"""Motion of patches by block matching: whole pixels, nothing learned.

An optical flow network costs more than a small super-resolution network. Alignment of
whole patches (Shi et al., "Rethinking Alignment in Video Super-Resolution
Transformers", NeurIPS 2022) needs one whole-pixel vector per patch, which a two-level
search by absolute differences finds for a hundredth of the work. Vectors that matter
little, in flat areas, tend to zero.

Everything is made of slices, gathers and pooling, so that it also runs where the
network is exported to. Displacements are tried three rows of them at a time: their
differences stay in the CPU's cache, and they are enough for several threads.
"""

from __future__ import annotations

from collections.abc import Iterator

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
_ROWS = 3
"""Rows of displacements that are tried at once."""
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


def _moved(columns: Tensor, reach: int, length: int) -> Iterator[Tensor]:
    """Displacements, row by row, a few rows at once.

    Args:
        columns: (2 reach + 1, ..., length + 2 reach, n): maps, by how far they are
            moved across.
        reach: the longest displacement.
        length: of the result.

    Yields:
        (2 reach + 1, ..., rows, length, n), all rows together 2 reach + 1.
    """
    side, axis = 2 * reach + 1, columns.dim() - 2
    inside = torch.arange(length, device=columns.device)
    for top in range(0, side, _ROWS):
        rows = torch.arange(top, min(top + _ROWS, side), device=columns.device)
        starts = (rows[:, None] + inside).reshape(-1)
        shape = (*columns.shape[:axis], len(rows), length, columns.shape[-1])
        yield columns.index_select(axis, starts).view(shape)


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
    columns = torch.stack([wide[:, :, i : i + w] for i in range(side)])
    parts = []
    for moved in _moved(columns, _COARSE, h):
        apart = (moved - here).abs()
        # by way of 2×2 to 8×8 around each patch
        parts.append(F.avg_pool2d(apart.flatten(0, 1), 2))
    cost = F.avg_pool2d(
        torch.cat(parts, dim=1), 4, stride=2, padding=1, count_include_pad=False
    )
    cost = cost.view(side, b, side, h // 4, w // 4).permute(1, 2, 0, 3, 4).flatten(1, 2)
    vectors = _vectors(_COARSE, here.device)
    effort = 2 * _EFFORT * vectors.abs().sum(dim=1)
    best = (cost + effort[:, None, None]).argmin(dim=1)
    return vectors[best]


def _refine(here: Tensor, there: Tensor, start: Tensor) -> Tensor:
    """Best displacement of each 8×8 patch near an initial estimate.

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
    columns = torch.stack([around[:, i : i + PATCH] for i in range(side)])
    parts = []
    for moved in _moved(columns.flatten(2), _FINE, PATCH):
        apart = (moved - own.flatten(1)).abs().view(side, -1, PATCH**2, own.shape[-1])
        parts.append(apart.mean(dim=2))
    apart = torch.cat(parts, dim=1).transpose(0, 1).reshape(side * side, -1)
    vectors = _vectors(_FINE, device)
    begin, step = start.reshape(-1, 2).t().to(here), vectors.t().to(here)
    total = (begin[:, None] + step[:, :, None]).abs().sum(dim=0)
    best = (apart + _EFFORT * total).argmin(dim=0)
    return (start.reshape(-1, 2) + vectors[best]).view(b, down, across, 2)
