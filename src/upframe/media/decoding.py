"""Packets through a decoder, with a count of what is damaged on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import av.error
from av.codec import CodecContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from upframe.media.interlace import Deinterlacer


class Decoded(NamedTuple):
    """One frame as the decoder gives it, and the counts up to and with it."""

    frame: VideoFrame
    damaged: int
    """Errors of the decoder."""
    marred: int
    """Frames that the decoder marks as corrupt."""
    intact: int
    """Frames since the last error or corrupt frame; all, if there was none."""


class Decoding:
    """Iterates over the frames of a stream, in presentation order.

    Args:
        stream: of an open container; its decoder is used.
        packets: the stream's packets from a keyframe on.
        before: shown packets of the stream before those.
    """

    def __init__(
        self, stream: VideoStream, packets: Iterator[Packet[Any]], before: int = 0
    ) -> None:
        self._decoder = _decoder(stream)
        self._input = packets
        self.packets = before
        """Packets read so far whose frames are shown, those before included."""
        self.damaged = self.marred = self.frames = 0
        self._first = self._damaged_first = 0
        self._last_event = 0

    def __iter__(self) -> Iterator[Decoded]:
        packet: Packet[Any] | None
        while True:
            try:
                packet = next(self._input, None)
            except av.error.FFmpegError:
                self._error()
                packet = None
            if packet is not None and packet.size and not packet.is_discard:
                self.packets += 1
            try:
                data = packet if packet is not None and packet.size else None
                for frame in self._decoder.decode(data):
                    yield self._count(frame)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._error()
            if packet is None or not packet.size:
                return

    def failed(self, lost: int) -> tuple[int, int]:
        """How many packets gave no good frame, and of how many.

        Packets before the first frame do not count: recordings begin anywhere.

        Args:
            lost: packets without a frame in all, where frames can be counted.
        """
        later = self.packets - self._first if self.frames else 0
        bad = max(self.damaged - self._damaged_first, lost - self._first)
        return bad + self.marred, later

    def _error(self) -> None:
        self.damaged += 1
        self._last_event = self.frames

    def _count(self, frame: VideoFrame) -> Decoded:
        if not self.frames:
            self._first, self._damaged_first = self.packets, self.damaged
        self.frames += 1
        if frame.is_corrupt:
            self.marred += 1
            self._last_event = self.frames
        intact = self.frames - self._last_event
        return Decoded(frame, self.damaged, self.marred, intact)


def deinterlaced(frames: Iterator[Decoded], time_base: Any) -> Iterator[Decoded]:
    """The same frames deinterlaced; counts stay with their frames."""
    stage = Deinterlacer(time_base)
    waiting: deque[Decoded] = deque()
    for item in frames:
        waiting.append(item)
        for out in stage.push(item.frame):
            yield waiting.popleft()._replace(frame=out)
    for out in stage.flush():
        yield waiting.popleft()._replace(frame=out)


def timestamp(frame: VideoFrame) -> int | None:
    """Presentation time of a frame, else its decode time; None when it has neither."""
    return frame.pts if frame.pts is not None else frame.dts


def _decoder(stream: VideoStream) -> Any:
    """The stream's decoder; libvpx where the native one would drop the alpha."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if name and stream.metadata.get("alpha_mode") == "1":
        context = CodecContext.create(name, "r")
        context.extradata = stream.codec_context.extradata
        return context
    stream.codec_context.thread_type = "AUTO"
    return stream.codec_context
