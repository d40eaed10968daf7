"""Tiles of maps as tensors: cut out and blended with weights that sum to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from upframe.planning.tiles import Tile, TileGrid


def view(x: Tensor, tile: Tile, scale: int = 1) -> Tensor:
    """The part of (..., H, W) that a tile covers, without a copy.

    Args:
        x: a map, ``scale`` times as large as the tile's grid.
        tile: where.
        scale: factor of both sides.
    """
    y, x0 = tile.y * scale, tile.x * scale
    return x[..., y : y + tile.height * scale, x0 : x0 + tile.width * scale]


def weights(grid: TileGrid, scale: int = 1) -> list[Tensor]:
    """(h, w) for each tile, row by row, on the CPU; they sum to 1 everywhere."""
    given = grid.weights(scale)
    rows, columns = (
        [torch.tensor(w) for w in ws] for ws in (given.rows, given.columns)
    )
    return [row[:, None] * column for row in rows for column in columns]


def blend(grid: TileGrid, parts: Sequence[Tensor], scale: int = 1) -> Tensor:
    """Join the tiles of (N, C, ...) results.

    Args:
        grid: where they lie.
        parts: (N, C, h, w) for each tile, row by row.
        scale: size of the results over that of the grid.

    Returns:
        (N, C, H, W), float32; a single tile as it is.
    """
    if grid.single:
        return parts[0]
    shape = (*parts[0].shape[:2], grid.height * scale, grid.width * scale)
    out = torch.zeros(shape, device=parts[0].device)
    for tile, part, weight in zip(grid, parts, weights(grid, scale), strict=True):
        target = view(out, tile, scale)
        target += part.float() * weight.to(out)
    return out
