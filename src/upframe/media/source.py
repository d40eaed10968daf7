"""Decoding a video file or pipe into RGB frames with exact timestamps."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.codec import CodecContext
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from upframe.errors import InputError
from upframe.media.colour import Colour, ToRGB, bit_depth, has_alpha, is_rgb, resolve
from upframe.media.container import friendly_errors, open_input
from upframe.media.frames import Frame, Hdr, SourceInfo
from upframe.media.interlace import Deinterlacer, looks_interlaced
from upframe.media.probe import describe_video, main_video
from upframe.media.timestamps import TimestampRepair, nominal_step

_DETECT_FRAMES = 24


@dataclass(frozen=True)
class Extent:
    """What lies in a file by its packets, found without decoding."""

    packets: int
    """Video packets: frames, but for field pairs and damaged files."""
    end: float
    """End of the last packet of any stream in seconds: on the container's clock or
    from its start, whichever is later, as formats differ in what they declare."""
    declared: float
    """Duration that the container declares, in seconds; 0 when it says none."""
    ended: bool = True
    """False for a GIF without its end mark; other formats have none."""


def scan(path: Path) -> Extent:
    """Read through the packets of a file, as fast as the disk gives them.

    Raises:
        InputError: it cannot be read, or holds no video.
    """
    with open_input(path) as container, friendly_errors("read", str(path)):
        video = main_video(container, str(path))
        start = min(0.0, (container.start_time or 0) / 1e6)
        packets, end = 0, 0.0
        try:
            for packet in container.demux():
                mine = packet.stream.index == video.index and not packet.is_discard
                packets += bool(mine and packet.size)
                at = packet.pts if packet.pts is not None else packet.dts
                if at is not None and packet.time_base:
                    stop = (at + (packet.duration or 0)) * packet.time_base
                    end = max(end, float(stop) - start)
        except av.error.FFmpegError:
            pass  # the decoder will meet it, count it and go on behind it
        ended = container.format.name != "gif" or _last_byte(path) == b"\x3b"
        return Extent(packets, end, (container.duration or 0) / 1e6, ended)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)


class FileSource:
    """Frames of the main video track of a file or pipe, in presentation order.

    Args:
        source: a file, or a binary stream such as standard input.
        format: FFmpeg's format name for a stream that does not tell.
        demuxer: options of the demuxer, for raw video.
        start: seconds after the first frame at which to begin.
        duration: seconds to take; all when None.
        deinterlace: ``auto`` (flags and combing decide), ``on`` or ``off``.
        expected: extent found by `scan`; a file that ends before it is refused.

    Raises:
        InputError: it cannot be read, or holds no video that decodes.
    """

    def __init__(
        self,
        source: Path | IO[bytes],
        *,
        format: str | None = None,
        demuxer: dict[str, str] | None = None,
        start: float = 0.0,
        duration: float | None = None,
        deinterlace: str = "auto",
        expected: Extent | None = None,
    ) -> None:
        self._name = str(source) if isinstance(source, Path) else "standard input"
        self._start, self._duration = start, duration
        self._damaged = self._packets = self._decoded_frames = self._marred = 0
        self._container = open_input(source, format=format, **(demuxer or {}))
        self.warnings: list[str] = []
        try:
            with friendly_errors("decode", self._name):
                self._stream = main_video(self._container, self._name)
                self.info, self._early = self._look(deinterlace, expected)
        except BaseException:
            self.close()
            raise
        self._check_extent(expected)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Decode all frames; each array is its own.

        Raises:
            InputError: not one frame could be decoded.
        """
        info = self.info
        to_rgb = ToRGB(
            info.colour, info.width, info.height, alpha=info.alpha, deep=info.depth > 8
        )
        repair = TimestampRepair(nominal_step(info.rate, info.time_base))
        first: int | None = None
        resized = count = 0
        with friendly_errors("decode", self._name):
            for picture in self._deinterlaced():
                pts = repair.push(_timestamp(picture))
                first = pts if first is None else first
                at = float((pts - first) * info.time_base)
                if at < self._start - 1e-9:
                    continue
                if self._duration is not None and (
                    at >= self._start + self._duration - 1e-9
                ):
                    break
                resized += (picture.width, picture.height) != (info.width, info.height)
                count += 1
                yield Frame(to_rgb(picture), pts, picture.duration or 0)
        self._report(count, resized, repair)

    def _report(self, count: int, resized: int, repair: TimestampRepair) -> None:
        if not count:
            raise InputError(
                f"Not one frame of {self._name} could be decoded"
                + (f" between {self._start:g} s and its end." if self._start else "."),
                "Check that it plays elsewhere"
                + (", and that --start lies inside it." if self._start else "."),
            )
        lost = 0
        if not self.info.interlaced and not self._fields and self._duration is None:
            # Fields may be coded in packets of their own, two to a frame.
            lost = self._packets - self._decoded_frames
        if max(lost, self._damaged) > 0:
            self.warnings.append(
                f"{max(lost, self._damaged)} coded frames of the input are damaged "
                "and gave no picture."
            )
        if self._marred:
            self.warnings.append(
                f"{self._marred} frames of the input are damaged and show it."
            )
        if resized:
            self.warnings.append(
                f"The picture size changes inside the input: {resized} frames were "
                f"scaled to {self.info.width}x{self.info.height} first."
            )
        if repair.missing:
            self.warnings.append(
                f"{repair.missing} frames had no timestamp; they follow at "
                f"{float(self.info.rate):g} frames per second."
            )
        if repair.moved:
            self.warnings.append(
                f"{repair.moved} timestamps were repeated or ran backwards; "
                "they were moved just past the one before."
            )

    def _decoded(self) -> Iterator[VideoFrame]:
        decoder = _decoder(self._stream)
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self._damaged += 1
                packet = None
            if packet is not None and packet.size and not packet.is_discard:
                self._packets += 1
            try:
                for frame in decoder.decode(packet if packet and packet.size else None):
                    self._decoded_frames += 1
                    self._marred += frame.is_corrupt
                    yield frame
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged += 1
            if packet is None or not packet.size:
                return

    def _look(
        self, deinterlace: str, expected: Extent | None
    ) -> tuple[SourceInfo, list[VideoFrame]]:
        """Decode the first frames: only they tell the truth about colour and fields."""
        self._frames = self._decoded()
        wanted = _DETECT_FRAMES if deinterlace == "auto" else 1
        early = list(itertools.islice(self._frames, wanted))
        if not early:
            raise InputError(
                f"Not one frame of {self._name} could be decoded.",
                "The file may be damaged or cut off; check that it plays elsewhere.",
            )
        header = describe_video(self._container, self._stream)
        self._fields = header.field_order > 1 or any(f.interlaced_frame for f in early)
        frame = early[0]
        pix_fmt = frame.format.name
        time_base = Fraction(frame.time_base or header.time_base)
        interlaced = deinterlace == "on" or (
            deinterlace == "auto" and looks_interlaced(early, time_base)
        )
        if interlaced and deinterlace == "auto":
            self.warnings.append(
                "The input is interlaced: it was deinterlaced "
                "(--deinterlace off keeps the fields)."
            )
        tagged = Colour(
            matrix=_told(frame.colorspace, header.colour.matrix),
            primaries=_told(frame.color_primaries, header.colour.primaries),
            transfer=_told(frame.color_trc, header.colour.transfer),
            range=2
            if pix_fmt.startswith("yuvj")
            else int(frame.color_range) or header.colour.range,
        )
        frames = expected.packets if expected else header.frames
        if self._duration is not None or self._start:
            length = frames / float(header.rate) - self._start
            length = min(length, self._duration or length)
            frames = max(1, round(length * float(header.rate)))
        info = SourceInfo(
            name=self._name,
            width=frame.width,
            height=frame.height,
            depth=bit_depth(pix_fmt),
            alpha=has_alpha(pix_fmt),
            sar=header.sar,
            rate=header.rate,
            time_base=time_base,
            frames=frames,
            colour=resolve(tagged, frame.width, frame.height, rgb=is_rgb(pix_fmt)),
            pix_fmt=pix_fmt,
            codec=header.codec,
            interlaced=interlaced,
            display_matrix=_display_matrix(frame),
            companions=tuple(
                other.type
                for other in self._container.streams
                if other.index != self._stream.index
            ),
            hdr=_hdr(frame),
        )
        return info, early

    def _deinterlaced(self) -> Iterator[VideoFrame]:
        pictures = itertools.chain(self._early, self._frames)
        self._early = []
        if not self.info.interlaced:
            yield from pictures
            return
        stage = Deinterlacer(self.info.time_base)
        for picture in pictures:
            yield from stage.push(picture)
        yield from stage.flush()

    def _check_extent(self, extent: Extent | None) -> None:
        if extent is None:
            return
        frame = 1 / float(self.info.rate)
        slack = max(0.25, 2.5 * frame)
        needed = extent.declared
        if self._duration is not None:
            needed = min(needed, self._start + self._duration)
        if extent.end < needed - slack:
            self.close()
            raise InputError(
                f"{self._name} is cut off: it declares {extent.declared:.2f} s and "
                f"ends after {extent.end:.2f} s ({extent.packets} frames).",
                "Fetch it again, or take the part that is there with "
                f"--duration {max(0.0, extent.end - slack - self._start):.2f}.",
            )
        if not extent.ended:
            self.warnings.append(
                f"The input has no end mark after {extent.packets} frames: its last "
                "frames may be cut off."
            )
        if extent.end < needed - 1.5 * frame:
            self.warnings.append(
                f"The input declares {extent.declared:.3f} s and ends after "
                f"{extent.end:.3f} s: its last frames may be cut off."
            )


def _told(*values: Any) -> int:
    return next((int(v) for v in values if int(v) not in (2, 3)), 2)


def _timestamp(frame: VideoFrame) -> int | None:
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


def _side_data(frame: VideoFrame, kind: SideDataType) -> bytes | None:
    try:
        items: Any = frame.side_data
        item = items.get(kind)
    except ValueError:
        return None  # PyAV 18 refuses frames with kinds of side data it does not know
    return None if item is None else bytes(item)


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    raw = _side_data(frame, SideDataType.DISPLAYMATRIX)
    return struct.unpack("=9i", raw[:36]) if raw else None


def _hdr(frame: VideoFrame) -> Hdr:
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
