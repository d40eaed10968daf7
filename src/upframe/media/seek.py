"""Exact seeking: decoding from a keyframe such that frames equal straight decoding.

A container's own seek is not trusted. Every packet read behind it must be the one that
the index of the whole file has at that place; otherwise the file is read from its start
without decoding, up to the keyframe. Decoding begins some frames before those that are
wanted, and the last unwanted frame must have the timestamp and the checksum that
straight decoding gave it. What fails is decoded from the start of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from upframe.media.index import UNKNOWN, PacketIndex
from upframe.media.position import Position

MARGINS = (24, 96)
"""Packets to decode before the wanted ones: above the reordering depth of any codec
(16) and the neighbours that deinterlacing needs. The second is tried when the frames
behind the first differ, as within a slow intra refresh."""

LONG_GOP = 250
"""The longest distance of keyframes that is usual: the default of x264."""

_NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS: a raw stream."""

_SEARCH = 64
"""Packets that may be passed over behind a container's seek."""

_TRUE_KEYFRAMES = {
    "av1", "cfhd", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "h264", "hap", "hevc",
    "huffyuv", "libdav1d", "libvpx", "libvpx-vp9", "mjpeg", "mpeg1video", "mpeg2video",
    "mpeg4", "png", "prores", "qtrle", "rawvideo", "theora", "utvideo", "v210", "vp8",
    "vp9", "vvc",
}  # fmt: skip
"""Decoders that depend on no frame before a keyframe. Others, such as GIF, paint on
the frame before."""


class NotExact(Exception):  # noqa: N818 - never leaves this package
    """Decoding from a keyframe would not, or did not, equal straight decoding."""


class PacketsDiffer(NotExact):
    """The packets behind a seek are not those that straight reading gives."""


def check_seekable(
    container: InputContainer, stream: VideoStream, index: PacketIndex, at: Position
) -> int:
    """The packet of the last frame before a position.

    Raises:
        NotExact: the position can only be reached by straight decoding.
    """
    codec = stream.codec_context.name
    if container.format.flags & _NO_TIMESTAMPS:
        raise NotExact("a raw stream has no timestamps to seek by")
    if codec not in _TRUE_KEYFRAMES:
        raise NotExact(f"frames of {codec} may depend on all frames before them")
    if at.raw is None:
        raise NotExact(f"the frame before frame {at.frame} has no timestamp")
    target = index.with_pts(at.raw)
    if target is None:
        raise NotExact(f"timestamps around frame {at.frame} are not unique")
    return target


def choose_keyframe(index: PacketIndex, target: int, at: Position, margin: int) -> int:
    """The keyframe to decode from, at least ``margin`` packets before the target.

    Returns:
        Its place; 0 where decoding from the start is no longer than usual.

    Raises:
        NotExact: there is none, or the packets behind it are damaged.
    """
    key = index.key_before(target - margin) if target >= margin else None
    while key is not None and index.pts[key] > index.pts[target]:
        key = index.key_before(key - 1) if key else None
    if not key and target <= LONG_GOP:
        return 0
    if not key:
        raise NotExact(f"there is no keyframe between the start and frame {at.frame}")
    if (
        at.intact < target - key + MARGINS[0] and at.intact < at.decoded
    ) or index.is_corrupt(key, target):
        raise NotExact(f"it is damaged shortly before frame {at.frame}")
    return key


def packets_by_seek(
    container: InputContainer, stream: VideoStream, index: PacketIndex, key: int
) -> Iterator[Packet[Any]]:
    """Packets from a keyframe on, by the container's own seek.

    Raises:
        PacketsDiffer: the seek does not lead to the packets of the index.
    """
    second = 1 / stream.time_base if stream.time_base else 90000
    known = [int(t) for t in (index.dts[key], index.pts[key]) if t != UNKNOWN]
    for early in (0, second, 10 * second):
        try:
            container.seek(min(known) - int(early), stream=stream)
        except av.error.FFmpegError as exc:
            raise PacketsDiffer("the container cannot be sought") from exc
        packets = container.demux(stream)
        for packet in _up_to(packets, _SEARCH):
            place = index.find(packet) if packet.size else None
            if place is not None:
                if place <= key:
                    return _checked(packets, index, place, key, packet)
                break
    raise PacketsDiffer("the container's seek leads elsewhere")


def packets_by_reading(
    container: InputContainer, stream: VideoStream, index: PacketIndex, key: int
) -> Iterator[Packet[Any]]:
    """Packets from a keyframe on, by reading all before it."""
    return _checked(container.demux(stream), index, 0, key)


def _up_to(packets: Iterator[Packet[Any]], count: int) -> Iterator[Packet[Any]]:
    try:
        for _, packet in zip(range(count), packets, strict=False):
            yield packet
    except av.error.FFmpegError:
        return


def _checked(
    packets: Iterator[Packet[Any]],
    index: PacketIndex,
    place: int,
    key: int,
    first: Packet[Any] | None = None,
) -> Iterator[Packet[Any]]:
    """Those from ``key`` on, as long as they are those of the index."""
    while True:
        try:
            packet = first if first is not None else next(packets, None)
        except av.error.FFmpegError:
            if place == len(index):
                raise  # straight decoding meets the same error
            raise PacketsDiffer(
                "the container reads differently behind a seek"
            ) from None
        first = None
        if packet is None or not packet.size:
            if place < len(index):
                raise PacketsDiffer("the container ends earlier behind a seek")
            if packet is not None:
                yield packet
            return
        if not index.same(place, packet):
            raise PacketsDiffer("the container gives other packets behind a seek")
        if place >= key:
            yield packet
        place += 1
