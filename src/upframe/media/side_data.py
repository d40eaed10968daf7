"""Side data of decoded frames: rotation and static HDR metadata."""

from __future__ import annotations

import itertools
import re
import struct
from fractions import Fraction
from typing import Any

from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from upframe.media.frames import Hdr


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine values of a frame's display matrix; None if it has none."""
    raw = _side_data(frame, Type.DISPLAYMATRIX)
    return struct.unpack("=9i", raw[:36]) if raw else None


def static_hdr(frame: VideoFrame) -> Hdr:
    """Mastering display and content light level of a frame, as far as it has them."""
    mastering = light = ""
    raw = _side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    if raw and len(raw) >= 88:
        mastering = _mastering(struct.unpack("=22i", raw[:88]))
    raw = _side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    if raw and len(raw) >= 8:
        light = "{},{}".format(*struct.unpack("=2I", raw[:8]))
    return Hdr(mastering, light)


def _mastering(values: tuple[int, ...]) -> str:
    """FFmpeg's AVMasteringDisplayMetadata as x265 writes it; empty if incomplete."""
    if not (values[20] and values[21]):
        return ""
    num = [
        Fraction(values[i], values[i + 1]) if values[i + 1] else Fraction(0)
        for i in range(0, 20, 2)
    ]
    red, green, blue, white = (num[i : i + 2] for i in (0, 2, 4, 6))
    points = [
        f"{label}({round(x * 50000)},{round(y * 50000)})"
        for label, (x, y) in zip(
            ("G", "B", "R", "WP"), (green, blue, red, white), strict=True
        )
    ]
    top, low = round(num[9] * 10000), round(num[8] * 10000)
    return "".join(points) + f"L({top},{low})"


def _side_data(frame: VideoFrame, kind: Type) -> bytes | None:
    for _ in range(8):
        try:
            items: Any = frame.side_data
            item = items.get(kind)
        except ValueError as exc:
            # PyAV 18 reads none where there is a kind it does not know, such as EXIF.
            unknown = re.match(r"(\d+) is not a valid", str(exc))
            if unknown is None:
                return None
            frame = _without(frame, unknown[1])
            continue
        return None if item is None else bytes(item)
    return None


def _without(frame: VideoFrame, kind: str) -> VideoFrame:
    """The same frame without side data of one kind, by its number in FFmpeg."""
    graph = Graph()
    stages = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 25),
        ),
        graph.add("sidedata", f"mode=delete:type={kind}"),
        graph.add("buffersink"),
    ]
    for one, other in itertools.pairwise(stages):
        one.link_to(other)
    graph.configure()
    graph.vpush(frame)
    return graph.vpull()
