"""LiftVSR's network on latents that are larger than PixArt's own."""

from __future__ import annotations

import torch
from torch import Tensor

from upframe.nn.tiles import blend, view
from upframe.planning.tiles import TileGrid
from upframe.systems.liftvsr.transformer import Cache, LiftTransformer


def predict_tiles(
    transformer: LiftTransformer,
    prompt: Tensor,
    grid: TileGrid,
    z: Tensor,
    condition: Tensor,
    given: Tensor,
    cache: Cache,
    *,
    remember: bool,
) -> tuple[Tensor, Cache]:
    """Predict the noise of one segment in all tiles.

    Args:
        transformer: the network.
        prompt: (1, L, K), its embedding.
        grid: tiles of the latents.
        z: (B, T, D, h, w), noisy latents.
        condition: the same shape, latents of the degraded frames.
        given: (B,), the timestep.
        cache: of all tiles, one after the other.
        remember: whether to update the cache.

    Returns:
        (B, T, D, h, w), blended, and the cache of all tiles.
    """
    held = zip(*(tokens.chunk(len(grid), dim=1) for tokens in cache), strict=True)
    caches: list[Cache] = list(held) or [()] * len(grid)
    parts, updated = [], []
    for tile, own in zip(grid, caches, strict=True):
        seen = (view(maps, tile) for maps in (z, condition))
        predicted, new = transformer(*seen, given, prompt, own, remember=remember)
        parts.append(predicted[:, :, : z.shape[2]].flatten(0, 1).float())
        updated.append(new)
    noise = torch.unflatten(blend(grid, parts), 0, z.shape[:2])
    joined = tuple(torch.cat(tokens, dim=1) for tokens in zip(*updated, strict=True))
    return noise, joined if remember else cache
