"""The same crop of many frames side by side, each with its name below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from upframe.datasets.images import ImageArray

_LINE = 22
_SIZE = 14
_GAP = 6
_PAPER, _INK = "white", "#20252a"


def crop(frame: ImageArray, side: int) -> ImageArray:
    """The middle of a frame (H, W, 3), at most ``side`` pixels long and wide."""
    top, left = (max(0, (length - side) // 2) for length in frame.shape[:2])
    return frame[top : top + side, left : left + side]


def enlarge(frame: ImageArray, scale: int) -> ImageArray:
    """Every pixel as a square, without interpolation."""
    return np.repeat(np.repeat(frame, scale, axis=0), scale, axis=1)


def contact_sheet(
    panels: Sequence[tuple[str, ImageArray]], side: int, columns: int = 4
) -> Image.Image:
    """Crops of frames of one size, in rows.

    Args:
        panels: names and frames (H, W, 3).
        side: of the crops from their middle, in pixels.
        columns: crops in a row.
    """
    crops = [crop(frame, side) for _, frame in panels]
    height, width = crops[0].shape[:2]
    across = min(columns, len(crops))
    rows = -(-len(crops) // across)
    size = (across * (width + _GAP) - _GAP, rows * (height + _LINE))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_SIZE)
    for number, ((name, _), part) in enumerate(zip(panels, crops, strict=True)):
        row, column = divmod(number, across)
        left, top = column * (width + _GAP), row * (height + _LINE)
        sheet.paste(Image.fromarray(part), (left, top))
        draw.text((left + 4, top + height + 2), name, fill=_INK, font=font)
    return sheet
