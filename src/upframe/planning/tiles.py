"""Tiles: a frame cut into overlapping rectangles, and joined again without seams.

Neighbouring tiles share ``overlap`` input pixels. On each side of a tile that lies
inside the frame, the outermost *margin* (three eighths of the overlap) has weight 0:
there the network saw the tile's edge instead of the frame. In the middle quarter the
weights cross over along a cosine. So the joined result equals that of the whole
frame, up to rounding, whenever the network looks no further than ``margin`` pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the input frame, in input pixels."""

    x: int
    y: int
    width: int
    height: int

    def crop(self, frame: Floats) -> Floats:
        """The rectangle of a frame (H, W, C), as a view."""
        return frame[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class TileWeights:
    """Separable blending weights at output scale.

    Tile (row r, column c) has the weights ``rows[r][:, None] * columns[c]``. At every
    output pixel the weights of all tiles sum to 1.
    """

    rows: tuple[Floats, ...]
    """Per row of tiles: (scale * height of the tile,)."""
    columns: tuple[Floats, ...]
    """Per column of tiles: (scale * width of the tile,)."""


@dataclass(frozen=True)
class TileGrid:
    """Tiles that cover a frame, all of one size but for the last column and row,
    which may be shorter by less than a multiple; made by ``plan_tiles``."""

    width: int
    """Frame width, input pixels."""
    height: int
    """Frame height, input pixels."""
    tile_width: int
    tile_height: int
    overlap: int
    """Pixels that neighbours share at least."""
    xs: tuple[int, ...]
    """Left edges of the tile columns, ascending."""
    ys: tuple[int, ...]
    """Top edges of the tile rows, ascending."""

    @property
    def margin(self) -> int:
        """Input pixels at an inner tile edge that carry no weight."""
        return 3 * self.overlap // 8

    @property
    def single(self) -> bool:
        """Whether one tile is the whole frame, so that nothing is blended."""
        return len(self) == 1

    @property
    def area(self) -> int:
        """Input pixels that the network processes per frame, overlaps included."""
        return len(self) * self.tile_width * self.tile_height

    def __len__(self) -> int:
        return len(self.xs) * len(self.ys)

    def __iter__(self) -> Iterator[Tile]:
        """All tiles, row by row."""
        for y in self.ys:
            for x in self.xs:
                yield Tile(
                    x,
                    y,
                    min(self.tile_width, self.width - x),
                    min(self.tile_height, self.height - y),
                )

    def weights(self, scale: int) -> TileWeights:
        """Blending weights for outputs of ``scale`` times the tile size."""
        return _weights(self, scale)


def plan_tiles(
    width: int,
    height: int,
    tile_width: int,
    tile_height: int,
    overlap: int,
    multiple: int = 1,
) -> TileGrid:
    """Cover a frame with tiles.

    Per axis: one tile as long as the frame if it fits; else as few tiles as tiles of
    the given size need, each then shortened as far as that number still covers the
    frame. The last tile is shifted in until it ends with the frame, or less than a
    multiple before that: then it is shorter, so that it too starts on a multiple. A
    network that works in patches sees the same patches as in the whole frame.

    Args:
        width: frame width in pixels.
        height: frame height in pixels.
        tile_width: largest tile width in pixels.
        tile_height: largest tile height in pixels.
        overlap: pixels that neighbouring tiles share at least.
        multiple: tile sizes are rounded down to multiples of it, and all tile
            positions are multiples of it. An axis that one tile covers keeps the size
            of the frame.

    Raises:
        ValueError: a size is not positive, or a tile is not larger than the overlap.
    """
    if min(width, height, tile_width, tile_height, multiple) < 1 or overlap < 0:
        raise ValueError("sizes must be positive and the overlap not negative")
    tile_width, xs = _axis(width, tile_width, overlap, multiple)
    tile_height, ys = _axis(height, tile_height, overlap, multiple)
    return TileGrid(width, height, tile_width, tile_height, overlap, xs, ys)


def _axis(
    size: int, tile: int, overlap: int, multiple: int
) -> tuple[int, tuple[int, ...]]:
    """Tile length and the tiles' first pixels along one axis."""
    if size <= tile:
        return size, (0,)
    tile = tile // multiple * multiple
    step = (tile - overlap) // multiple * multiple
    if step < 1:
        raise ValueError(
            f"a tile of {tile} pixels is too small for an overlap of {overlap} "
            f"in steps of {multiple}"
        )
    count = 1 + math.ceil((size - tile) / step)
    while True:
        shorter = tile - multiple
        if shorter - overlap < multiple:
            break
        # one multiple less per tile is one multiple less per step
        if (count - 1) * (step - multiple) + shorter < size:
            break
        tile, step = shorter, step - multiple
    last = math.ceil((size - tile) / multiple) * multiple
    return tile, tuple(min(i * step, last) for i in range(count))


@lru_cache(maxsize=16)
def _weights(grid: TileGrid, scale: int) -> TileWeights:
    def axis(starts: tuple[int, ...], tile: int, size: int) -> tuple[Floats, ...]:
        margin = grid.margin * scale
        ramp = (grid.overlap * scale) - 2 * margin
        phase = (np.arange(ramp) + 0.5) / max(ramp, 1)
        rise = np.concatenate([np.zeros(margin), 0.5 - 0.5 * np.cos(np.pi * phase)])
        total = np.zeros(size * scale)
        profiles = []
        for start in starts:
            length = min(tile, size - start)
            profile = np.ones(length * scale)
            if start > 0:
                profile[: len(rise)] *= rise
            if start + length < size:
                profile[len(profile) - len(rise) :] *= rise[::-1]
            total[start * scale : (start + length) * scale] += profile
            profiles.append(profile)
        result = []
        for start, profile in zip(starts, profiles, strict=True):
            profile /= total[start * scale : start * scale + len(profile)]
            weights = profile.astype(np.float32)
            weights.flags.writeable = False
            result.append(weights)
        return tuple(result)

    return TileWeights(
        rows=axis(grid.ys, grid.tile_height, grid.height),
        columns=axis(grid.xs, grid.tile_width, grid.width),
    )


class Blender:
    """Joins the upscaled tiles of one frame, given one by one in any order.

    Holds the output frame and, while a tile is added, one more tile; nothing else.
    With a single tile the given array itself is the result, not a copy.

    Args:
        grid: the tiles.
        scale: output size over input size, per axis.
    """

    def __init__(self, grid: TileGrid, scale: int) -> None:
        self._grid = grid
        self._scale = scale
        self._missing = set(grid)
        self._canvas: Floats | None = None

    @property
    def complete(self) -> bool:
        """Whether every tile has been added."""
        return not self._missing

    def add(self, tile: Tile, pixels: Floats) -> None:
        """Add the upscaled tile (scale * tile.height, scale * tile.width, C).

        Raises:
            ValueError: the tile is not of this grid, was added before, or its pixels
                have the wrong size.
        """
        grid, scale = self._grid, self._scale
        if tile not in self._missing:
            raise ValueError(f"{tile} is not of this grid or was added before")
        if pixels.shape[:2] != (tile.height * scale, tile.width * scale):
            raise ValueError(
                f"{tile} at scale {scale} cannot have shape {pixels.shape}"
            )
        self._missing.remove(tile)
        if grid.single:
            self._canvas = pixels
            return
        if self._canvas is None:
            shape = (grid.height * scale, grid.width * scale, pixels.shape[2])
            self._canvas = np.zeros(shape, np.float32)
        weights = grid.weights(scale)
        rows = weights.rows[grid.ys.index(tile.y)]
        columns = weights.columns[grid.xs.index(tile.x)]
        # only where the tile counts: the margins are skipped, not multiplied by 0,
        # so that whatever the network made of them cannot leak
        top, bottom = _support(rows)
        left, right = _support(columns)
        part = pixels[top:bottom, left:right] * rows[top:bottom, None, None]
        part *= columns[left:right, None]
        y, x = tile.y * scale, tile.x * scale
        self._canvas[y + top : y + bottom, x + left : x + right] += part

    def result(self) -> Floats:
        """The joined frame (scale * height, scale * width, C).

        Raises:
            ValueError: tiles are missing.
        """
        if self._missing or self._canvas is None:
            raise ValueError(f"{len(self._missing)} tiles are missing")
        return self._canvas


def _support(weights: Floats) -> tuple[int, int]:
    """First and one past the last index of the weights above 0."""
    where = np.flatnonzero(weights)
    return int(where[0]), int(where[-1]) + 1


def blend(grid: TileGrid, scale: int, tiles: Iterable[tuple[Tile, Floats]]) -> Floats:
    """Join upscaled tiles, taken one at a time, into one frame.

    Args:
        grid: the tiles.
        scale: output size over input size, per axis.
        tiles: every tile of the grid once, with its pixels
            (scale * tile.height, scale * tile.width, C).

    Returns:
        (scale * height, scale * width, C) float32; the very array of the tile where
        one tile covers all.

    Raises:
        ValueError: a tile is missing, twice there, or of the wrong size.
    """
    blender = Blender(grid, scale)
    for tile, pixels in tiles:
        blender.add(tile, pixels)
    return blender.result()
