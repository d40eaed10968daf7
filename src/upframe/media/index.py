"""The packets of a file, read once without decoding: how long it is, where to seek."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from upframe.media.complete import Length
from upframe.media.container import friendly_errors, open_input
from upframe.media.probe import main_video

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a timestamp or a place in the file that is not known."""
KEY, DISCARD, CORRUPT = 1, 2, 4
"""Bits of :attr:`PacketIndex.flags`."""


@dataclass(frozen=True)
class PacketIndex:
    """The video packets of a file in decode order; 37 bytes for each.

    Each array has the shape (packets,). Times are in the stream's time base.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    position: NDArray[np.int64]
    """Byte offset in the file."""
    size: NDArray[np.int32]
    """Bytes."""
    duration: NDArray[np.int64]
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pts)

    def same(self, number: int, packet: Any) -> bool:
        """Whether a packet just read is the one that the index has at a place.

        The decode time is left out: where containers do not store it, it depends on
        the packets read before.
        """
        return bool(
            number < len(self)
            and self.size[number] == packet.size
            and self.pts[number] == _known(packet.pts)
            and self.position[number] == _known(packet.pos)
            and self.duration[number] == (packet.duration or 0)
            and self.flags[number] == _flags(packet)
        )

    def find(self, packet: Any) -> int | None:
        """The place of a packet; None when it has none or several."""
        places = np.flatnonzero(
            (self.size == packet.size)
            & (self.pts == _known(packet.pts))
            & (self.position == _known(packet.pos))
        )
        return int(places[0]) if len(places) == 1 else None

    def with_pts(self, pts: int) -> int | None:
        """The place of the only packet with a timestamp; None for none or several."""
        places = np.flatnonzero((self.pts == pts) & (self.flags & DISCARD == 0))
        return int(places[0]) if len(places) == 1 else None

    def key_before(self, number: int) -> int | None:
        """The last keyframe at or before a place that has a timestamp."""
        keys = self.flags[: number + 1] & KEY > 0
        places = np.flatnonzero(keys & (self.pts[: number + 1] != UNKNOWN))
        return int(places[-1]) if len(places) else None

    def shown(self, stop: int) -> int:
        """Packets before a place whose frames are shown."""
        return int(np.count_nonzero(self.flags[:stop] & DISCARD == 0))

    def is_corrupt(self, start: int, stop: int) -> bool:
        """Whether the demuxer marks a packet in ``[start, stop)`` as damaged."""
        return bool(np.any(self.flags[start:stop] & CORRUPT))


@dataclass(frozen=True)
class Extent:
    """What lies in a file by its packets, found without decoding."""

    packets: int
    """Video packets: frames, but for field pairs and damaged files."""
    end: float
    """End of the last packet of any stream in seconds: on the container's clock or
    from its start, whichever is later, as formats differ in what they declare."""
    declared: float
    """Duration that the container declares, in seconds; 0 when it declares none."""
    ended: bool = True
    """False for a GIF without its end mark; other formats have none."""
    index: PacketIndex | None = field(default=None, compare=False, repr=False)

    def length(self, size: int) -> Length:
        """The same for `check_complete`.

        Args:
            size: of the file in bytes; 0 if what follows the packets does not matter.
        """
        read = size
        if self.index is not None:
            known = self.index.position != UNKNOWN
            ends = (self.index.position + self.index.size)[known]
            read = int(ends.max()) if len(ends) else size
        return Length(
            self.declared,
            self.end,
            self.packets,
            unread=max(0, size - read),
            marked=self.ended,
        )


def _known(value: int | None) -> int:
    return UNKNOWN if value is None else value


def _flags(packet: Any) -> int:
    return (
        KEY * bool(packet.is_keyframe)
        | DISCARD * bool(packet.is_discard)
        | CORRUPT * bool(packet.is_corrupt)
    )


class _Columns:
    """The arrays of a `PacketIndex` while they grow."""

    def __init__(self) -> None:
        self._columns = [array(code) for code in "qqqiqB"]

    def add(self, packet: Any) -> None:
        values = (
            _known(packet.pts),
            _known(packet.dts),
            _known(packet.pos),
            packet.size,
            packet.duration or 0,
            _flags(packet),
        )
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def index(self) -> PacketIndex:
        kinds: list[Any] = [np.int64] * 3 + [np.int32, np.int64, np.uint8]
        return PacketIndex(
            *(
                np.frombuffer(column, kind) if column else np.empty(0, kind)
                for column, kind in zip(self._columns, kinds, strict=True)
            )
        )


def scan(path: Path) -> Extent:
    """Read through the packets of a file, as fast as the disk gives them.

    Raises:
        InputError: it cannot be read, or holds no video.
    """
    with open_input(path) as container, friendly_errors("read", str(path)):
        video = main_video(container, str(path)).index
        end, columns = _read_packets(container, video)
        index = columns.index()
        ended = container.format.name != "gif" or _last_byte(path) == b"\x3b"
        declared = (container.duration or 0) / 1e6
        return Extent(index.shown(len(index)), end, declared, ended, index)


def _read_packets(container: InputContainer, video: int) -> tuple[float, _Columns]:
    start = min(0.0, (container.start_time or 0) / 1e6)
    columns, end = _Columns(), 0.0
    try:
        for packet in container.demux():
            if packet.stream_index == video and packet.size:
                columns.add(packet)
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None and packet.time_base:
                stop = (at + (packet.duration or 0)) * packet.time_base
                end = max(end, float(stop) - start)
    except av.error.FFmpegError:
        pass  # the decoder meets the same error, counts it and goes on behind it
    return end, columns


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)
