"""Patches of latents: cut from a map, joined without seams, painted by their group.

All patches have one size, so that any of them form a batch. Where they overlap they
are blended with the weights of `upframe.planning.tiles`, which sum to 1 everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from upframe.nn.tiles import blend, view, weights
from upframe.planning.tiles import TileGrid

_COLOURS = ((0.99, 0.86, 0.35), (0.96, 0.60, 0.30), (0.85, 0.28, 0.26))
"""Simple, medium, hard; as in the paper's figure."""


def patch_grid(height: int, width: int, patch: int, overlap: int) -> TileGrid:
    """Where the patches of a map lie; the last of an axis is shifted in.

    Args:
        height: of the map, at least ``patch``.
        width: likewise.
        patch: side of a patch.
        overlap: places that neighbours share at least; less than ``patch``.
    """

    def starts(size: int) -> tuple[int, ...]:
        regular = range(0, size - patch, patch - overlap)
        return (*regular, size - patch)

    return TileGrid(width, height, patch, patch, overlap, starts(width), starts(height))


def cut(x: Tensor, grid: TileGrid) -> Tensor:
    """(B, C, H, W) to (M * B, C, patch, patch): row by row of the grid, and at each
    place all of the batch."""
    return torch.cat([view(x, tile) for tile in grid])


def join(patches: Tensor, grid: TileGrid) -> Tensor:
    """Blend (M * B, C, patch, patch), in the order of `cut`, to (B, C, H, W),
    float32."""
    return blend(grid, patches.float().chunk(len(grid)))


def paint_groups(groups: Tensor, grid: TileGrid, factor: int) -> Tensor:
    """An image of the groups, coloured by the patch that counts most at each place.

    Args:
        groups: (M,) of 0, 1, 2.
        grid: the patches.
        factor: pixels per place.

    Returns:
        (3, factor * H, factor * W) in [0, 1], on the CPU.
    """
    most = torch.full((grid.height, grid.width), -1.0)
    chosen = torch.zeros((grid.height, grid.width), dtype=torch.int64)
    for tile, group, weight in zip(grid, groups.tolist(), weights(grid), strict=True):
        here, there = view(most, tile), view(chosen, tile)
        more = weight > here
        here[more] = weight[more]
        there[more] = group
    image = torch.tensor(_COLOURS)[chosen].permute(2, 0, 1)
    return image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
