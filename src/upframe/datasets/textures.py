"""Crops with texture from folders of images, for a memory of good textures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.images import ImageArray, list_images, read_image

Crops = NDArray[np.float32]
"""(n, 3, size, size) RGB in [0, 1]."""


def texture_crops(folders: list[Path], size: int, most: int = 16) -> Iterator[Crops]:
    """The most textured squares of each image.

    Squares lie side by side; how textured one is, is the mean absolute difference of
    neighbouring pixels of its grey value.

    Args:
        folders: with images directly inside, read in order of their names.
        size: side of a square in pixels.
        most: squares per image.

    Yields:
        One array per image, most textured first; images smaller than a square are
        passed over.

    Raises:
        InputError: a folder is missing or holds no image, or a file is damaged.
        MissingExtraError: Pillow is not installed.
    """
    for folder in folders:
        for path in list_images(folder):
            squares = _squares(read_image(path), size)
            if len(squares):
                best = np.argsort(-_texture(squares), kind="stable")[:most]
                chosen = squares[best].transpose(0, 3, 1, 2)
                yield np.ascontiguousarray(chosen, np.float32) / np.float32(255)


def _squares(image: ImageArray, size: int) -> ImageArray:
    """(n, size, size, 3), row by row; what is left over at the right and the bottom is
    not used."""
    rows, columns = (side // size for side in image.shape[:2])
    whole = image[: rows * size, : columns * size]
    grid = whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2)
    return grid.reshape(rows * columns, size, size, 3)


def _texture(squares: ImageArray) -> NDArray[np.float32]:
    """(n,), in levels."""
    grey = squares.mean(3, dtype=np.float32)
    across = np.abs(np.diff(grey, axis=2)).mean((1, 2))
    down = np.abs(np.diff(grey, axis=1)).mean((1, 2))
    return np.asarray(across + down, np.float32)
