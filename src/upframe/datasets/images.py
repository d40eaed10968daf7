"""Reading images as arrays through Pillow (extras ``train`` and ``metrics``)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.errors import InputError, MissingExtraError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".avif", ".tif"})


ImageArray = NDArray[np.uint8]
"""(H, W, 3) RGB."""


def read_image(path: Path) -> ImageArray:
    """One image file as RGB.

    Args:
        path: a file that Pillow reads; palettes, grey and alpha are turned into RGB,
            alpha is dropped.

    Returns:
        (H, W, 3) uint8.

    Raises:
        MissingExtraError: if Pillow is not installed.
        InputError: if the file is missing or no image.
    """
    return _read(path, str(path))


def decode_image(content: bytes, name: str) -> ImageArray:
    """The content of an image file as RGB; ``name`` is for messages.

    Raises:
        MissingExtraError: if Pillow is not installed.
        InputError: if this is no image.
    """
    return _read(io.BytesIO(content), name)


def _read(file: Path | io.BytesIO, name: str) -> ImageArray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("Reading images", "metrics") from error
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{name} cannot be read as an image: {error}.",
            "Check that the file is complete and of a kind that Pillow knows.",
        ) from error


def list_images(folder: Path) -> list[Path]:
    """Image files directly inside a folder, sorted by name.

    Raises:
        InputError: if the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Check the path of the data.")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{folder} holds no images.", "Check the path of the data.")
    return files
