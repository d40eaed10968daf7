"""The same crop of many pictures side by side, each with its name below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from upframe.datasets.pictures import Picture

_LINE = 22
_SIZE = 14
_GAP = 6
_PAPER, _INK = "white", "#20252a"


def crop(picture: Picture, side: int) -> Picture:
    """The middle of a picture (H, W, 3), at most ``side`` pixels long and wide."""
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def enlarge(picture: Picture, scale: int) -> Picture:
    """Every pixel as a square: a picture as small as it is."""
    return np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1)


def contact_sheet(
    panels: Sequence[tuple[str, Picture]], side: int, columns: int = 4
) -> Image.Image:
    """Crops of pictures of one size, in rows.

    Args:
        panels: names and pictures (H, W, 3).
        side: of the crops from their middle, in pixels.
        columns: crops in a row.
    """
    crops = [crop(picture, side) for _, picture in panels]
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
