"""Motion of patches by block matching: whole pixels, nothing learned.

An optical flow network costs more than a small super-resolution network. Alignment of
whole patches (Shi et al., "Rethinking Alignment in Video Super-Resolution
Transformers", NeurIPS 2022) needs one whole-pixel vector per patch, which a two-level
search by absolute differences finds for a hundredth of the work. Vectors that matter
little, in flat areas, tend to zero.

Everything is made of convolutions, pooling and gathers, so that it also runs where the
network is exported to.
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
    return _refine(here, there, 2 * coarse)


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


def _shifts(x: Tensor, reach: int) -> Tensor:
    """(N, 1, h + 2 reach, w + 2 reach) to all its (N, (2 reach + 1)², h, w) crops."""
    side = 2 * reach + 1
    one_hot = torch.eye(side * side, device=x.device, dtype=x.dtype)
    return F.conv2d(x, one_hot.view(side * side, 1, side, side))


def _vectors(reach: int, device: torch.device) -> Tensor:
    """((2 reach + 1)², 2) rows and columns, in the order of :func:`_shifts`."""
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
    padded = F.pad(there, (_COARSE,) * 4, mode="replicate")
    apart = (_shifts(padded, _COARSE) - here).abs()
    cost = F.avg_pool2d(apart, 8, stride=4, padding=2, count_include_pad=False)
    vectors = _vectors(_COARSE, here.device)
    effort = 2 * _EFFORT * vectors.abs().sum(dim=1)
    best = (cost + effort[:, None, None]).argmin(dim=1)
    return vectors[best]


def _refine(here: Tensor, there: Tensor, start: Tensor) -> Tensor:
    """Best displacement of each 8×8 patch near a first guess.

    Args:
        here: (B, 1, h, w).
        there: the same.
        start: (B, h/8, w/8, 2) int64.

    Returns:
        (B, h/8, w/8, 2) int64.
    """
    b, down, across = start.shape[:3]
    h, w = down * PATCH, across * PATCH
    device = here.device
    own = here.view(b, down, PATCH, across, PATCH).transpose(2, 3)
    inside = torch.arange(-_FINE, PATCH + _FINE, device=device)
    rows = torch.arange(down, device=device)[:, None] * PATCH + start[..., 0]
    columns = torch.arange(across, device=device) * PATCH + start[..., 1]
    rows = (rows[..., None] + inside).clamp(0, h - 1)
    columns = (columns[..., None] + inside).clamp(0, w - 1)
    places = rows[..., :, None] * w + columns[..., None, :]
    first = torch.arange(b, device=device).view(b, 1, 1, 1, 1) * (h * w)
    side = PATCH + 2 * _FINE
    around = there.flatten().gather(0, (places + first).flatten())
    around = around.view(-1, 1, side, side)
    apart = (_shifts(around, _FINE) - own.reshape(-1, 1, PATCH, PATCH)).abs()
    vectors = _vectors(_FINE, device)
    begin, step = start.reshape(-1, 2, 1).to(here), vectors.to(here).t()
    total = (begin[:, 0] + step[0]).abs() + (begin[:, 1] + step[1]).abs()
    cost = apart.mean(dim=(2, 3)) + _EFFORT * total
    best = cost.argmin(dim=1)
    return (start.reshape(-1, 2) + vectors[best]).view(b, down, across, 2)
