"""Crops with texture from folders of pictures, for a memory of good textures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.pictures import Picture, list_pictures, read_picture

Crops = NDArray[np.float32]
"""(n, 3, size, size) RGB in [0, 1]."""


def texture_crops(folders: list[Path], size: int, most: int = 16) -> Iterator[Crops]:
    """The most textured squares of each picture.

    Squares lie side by side; how textured one is, is the mean absolute difference of
    neighbouring pixels of its grey value.

    Args:
        folders: with pictures directly inside, read in order of their names.
        size: side of a square in pixels.
        most: squares per picture.

    Yields:
        One array per picture, most textured first; pictures smaller than a square are
        passed over.

    Raises:
        InputError: a folder is missing or holds no picture, or a file is damaged.
        MissingExtraError: Pillow is not installed.
    """
    for folder in folders:
        for path in list_pictures(folder):
            squares = _squares(read_picture(path), size)
            if len(squares):
                best = np.argsort(-_texture(squares), kind="stable")[:most]
                chosen = squares[best].transpose(0, 3, 1, 2)
                yield np.ascontiguousarray(chosen, np.float32) / np.float32(255)


def _squares(picture: Picture, size: int) -> Picture:
    """(n, size, size, 3), row by row; what is left over at the right and the bottom is
    not used."""
    rows, columns = (side // size for side in picture.shape[:2])
    whole = picture[: rows * size, : columns * size]
    grid = whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2)
    return grid.reshape(rows * columns, size, size, 3)


def _texture(squares: Picture) -> NDArray[np.float32]:
    """(n,), in levels."""
    grey = squares.mean(3, dtype=np.float32)
    across = np.abs(np.diff(grey, axis=2)).mean((1, 2))
    down = np.abs(np.diff(grey, axis=1)).mean((1, 2))
    return np.asarray(across + down, np.float32)
