"""Still images: recognised by their content, shown upright."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import numpy as np

from upframe.media.colour import Pixels

_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\x89PNG\r\n\x1a\n", "png_pipe"),
        (rb"\xff\xd8\xff", "jpeg_pipe"),
        (rb"RIFF....WEBP", "webp_pipe"),
        (rb"(?:II\*\x00|MM\x00\*)", "tiff_pipe"),
        (rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", "bmp_pipe"),
        (rb"P[14]\s", "pbm_pipe"),
        (rb"P[25]\s", "pgm_pipe"),
        (rb"P[36]\s", "ppm_pipe"),
        (rb"GIF8[79]a", "gif"),
    )
)
_MOTION_JPEG = frozenset({".mjpeg", ".mjpg"})


def image_demuxer(path: Path) -> str | None:
    """FFmpeg's demuxer for an image, chosen by the first bytes of the file.

    FFmpeg itself goes by the name: ``photo.jpg`` and ``a%03d.png`` would be patterns
    that open other files.

    Returns:
        The name of the demuxer (``gif`` and ``apng`` for animations), or None if the
        file is no image of a known format.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    name = next((n for pattern, n in _SIGNATURES if pattern.match(head)), None)
    if name == "png_pipe" and b"acTL" in head.partition(b"IDAT")[0]:
        return "apng"
    if name == "jpeg_pipe" and path.suffix.lower() in _MOTION_JPEG:
        return None
    return name


def is_still(path: Path) -> bool:
    """Whether a path names a file that holds one image, and no animation."""
    try:
        name = image_demuxer(path) if path.is_file() else None
    except OSError:
        return False  # opening it will say why
    return name is not None and name.endswith("_pipe")


def upright(pixels: Pixels, matrix: tuple[int, ...] | None) -> Pixels:
    """Turn and mirror an image as its display matrix asks.

    Args:
        pixels: (H, W, channels).
        matrix: nine values as FFmpeg has them; None leaves the image as it is.

    Returns:
        (H, W, channels), or (W, H, channels) after a quarter turn.
    """
    if matrix is None:
        return pixels
    a, b, _, c, d = matrix[:5]
    if swaps_sides(matrix):
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    if across < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return cast(Pixels, np.ascontiguousarray(pixels))


def swaps_sides(matrix: tuple[int, ...] | None) -> bool:
    """Whether a display matrix makes a quarter turn."""
    return matrix is not None and abs(matrix[0]) < abs(matrix[1])
