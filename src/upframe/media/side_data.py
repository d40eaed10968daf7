"""What decoded frames carry beside their pixels: rotation and HDR metadata."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from upframe.media.frames import Hdr


def _side_data(frame: VideoFrame, kind: SideDataType) -> bytes | None:
    try:
        items: Any = frame.side_data
        item = items.get(kind)
    except ValueError:
        return None  # PyAV 18 refuses frames with kinds of side data it does not know
    return None if item is None else bytes(item)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Nine values, 16.16 and 2.30 fixed point; None when the frame has none."""
    raw = _side_data(frame, SideDataType.DISPLAYMATRIX)
    return struct.unpack("=9i", raw[:36]) if raw else None


def static_hdr(frame: VideoFrame) -> Hdr:
    """Mastering display and content light level; empty where the frame has none."""
    mastering = light = ""
    raw = _side_data(frame, SideDataType.MASTERING_DISPLAY_METADATA)
    if raw and len(raw) >= 88:
        values = struct.unpack("=22i", raw[:88])
        num = [
            Fraction(values[i], values[i + 1]) if values[i + 1] else Fraction(0)
            for i in range(0, 20, 2)
        ]
        red, green, blue, white = (num[i : i + 2] for i in (0, 2, 4, 6))
        if values[20] and values[21]:
            points = [
                f"{label}({round(x * 50000)},{round(y * 50000)})"
                for label, (x, y) in zip(
                    ("G", "B", "R", "WP"), (green, blue, red, white), strict=True
                )
            ]
            top, low = round(num[9] * 10000), round(num[8] * 10000)
            mastering = "".join(points) + f"L({top},{low})"
    raw = _side_data(frame, SideDataType.CONTENT_LIGHT_LEVEL)
    if raw and len(raw) >= 8:
        light = "{},{}".format(*struct.unpack("=2I", raw[:8]))
    return Hdr(mastering, light)
