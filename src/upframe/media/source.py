"""Decoding a video file or pipe into RGB frames with exact timestamps."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

from upframe.errors import InputError
from upframe.media.colour import ToRGB, bit_depth, has_alpha, is_rgb, resolve
from upframe.media.complete import (
    check_complete,
    check_readable,
    check_unchanged,
    stamp_of,
)
from upframe.media.container import friendly_errors, open_input
from upframe.media.decoding import Decoded, Decoding, deinterlaced
from upframe.media.frames import Frame, SourceInfo
from upframe.media.index import Extent, PacketIndex
from upframe.media.interlace import looks_interlaced
from upframe.media.position import Position, checksum
from upframe.media.probe import describe_video, main_video, tagged_colour
from upframe.media.seek import (
    MARGINS,
    NotExact,
    PacketsDiffer,
    check_seekable,
    choose_keyframe,
    packets_by_reading,
    packets_by_seek,
)
from upframe.media.side_data import display_matrix, static_hdr
from upframe.media.structure import Structure, read_structure
from upframe.media.tracking import Tracker

_DETECT_FRAMES = 24
_JUDGED_PACKETS = 16
"""So many packets tell whether most frames decode."""

Packets = Callable[[InputContainer, VideoStream, PacketIndex, int], Iterator[Any]]
_WAYS: dict[str, Packets] = {"seek": packets_by_seek, "read": packets_by_reading}


class _Run(NamedTuple):
    """Decoded frames that are still to come."""

    frames: Iterator[Decoded]
    decoding: Decoding
    base: Decoded | None
    """The frame before them; None at the start of the file."""


class FileSource:
    """Frames of the main video track of a file or pipe, in presentation order.

    Args:
        source: a file, or a binary stream such as standard input.
        format: FFmpeg's format name for a stream that cannot be detected.
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
        self._source = source
        self._path = source if isinstance(source, Path) else None
        self._name = str(source) if self._path else "standard input"
        self._start, self._duration = start, duration
        self._begin: Position | None = None
        self._stop: int | None = None
        self._sought_in = contextlib.ExitStack()
        self._index = expected.index if expected else None
        self._opened = contextlib.ExitStack()
        self._is_read = False
        self._decodings: list[Decoding] = []
        self._container = self._opened.enter_context(
            open_input(source, format=format, **(demuxer or {}))
        )
        self.warnings: list[str] = []
        self.reached = "start"
        """How ``begin`` was reached, once iteration has begun: ``seek``; ``read``, by
        reading all packets before it; ``decode``, by decoding all frames before it;
        ``start`` where there was nothing to pass over, or little."""
        self.seek_refused = ""
        """Why all frames before ``begin`` had to be decoded."""
        self._structure = Structure()
        if self._path is not None:
            self._stamp = stamp_of(self._path)
            self._structure = read_structure(self._path)
        try:
            check_readable(self._name, self._structure.encrypted)
            with friendly_errors("decode", self._name):
                self._stream = main_video(self._container, self._name)
                self.info, self._early = self._look(deinterlace, expected)
        except BaseException:
            self.close()
            raise
        self._check_extent(expected)

    def begin_at(self, position: Position | None, stop: int | None = None) -> None:
        """Let the next iteration begin behind a position and end before a frame.

        Frames, timestamps and warnings are those of straight decoding.

        Args:
            position: as an earlier reading of the same file with the same arguments
                recorded it; None for the first frame.
            stop: number of the frame before which to end, counted as in `Position`.
        """
        self._begin, self._stop = position, stop
        self.reached, self.seek_refused = "start", ""

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._sought_in.close()
        self._opened.close()

    @property
    def decoded(self) -> int:
        """Frames decoded so far, those that were passed over included."""
        return sum(decoding.frames for decoding in self._decodings)

    def __iter__(self) -> Iterator[Frame]:
        """Decode all frames; each array is its own.

        Raises:
            InputError: not one frame could be decoded.
        """
        info, at = self.info, self._begin
        self._to_rgb = ToRGB(
            info.colour, info.width, info.height, alpha=info.alpha, deep=info.depth > 8
        )
        with friendly_errors("decode", self._name):
            if at is not None:
                try:
                    for frame in self._frames(self._sought(at), at):
                        at = frame.position
                        yield frame
                    return
                except NotExact as exc:
                    self.reached, self.seek_refused = "decode", str(exc)
                    self.warnings.append(
                        f"All frames before frame {at.frame if at else 0} were decoded "
                        f"again to reach it: {exc}."
                    )
            yield from self._frames(self._straight(at), at)

    def _frames(self, run: _Run, at: Position | None) -> Iterator[Frame]:
        tracker = Tracker(self.info, self._start, at, run.base)
        over = float("inf")
        if self._duration is not None:
            over = self._start + self._duration - 1e-9
        for item in run.frames:
            before = tracker.position
            seconds = tracker.push(item)
            if seconds >= over or before.frame == self._stop:
                self._report(before, 0)
                return
            now = tracker.position
            if now.frame > before.frame:
                duration = item.frame.duration or 0
                yield Frame(self._to_rgb(item.frame), now.last, duration, "", now)
        place = tracker.end(run.decoding.damaged)
        lost = 0
        if not self.info.interlaced and not self._fields and self._duration is None:
            # Fields may be coded in packets of their own, two to a frame.
            lost = run.decoding.packets - place.decoded
        self._check_damage(run.decoding, lost)
        self._report(place, lost)

    def _straight(self, at: Position | None) -> _Run:
        """Frames behind a position, decoded from the start of the file."""
        if self._is_read:
            self._container = self._reopened()
            self._stream = main_video(self._container, self._name)
            self._start_decoding()
        frames: Iterator[Decoded] = itertools.chain(self._early, self._decoded)
        self._is_read, self._early = True, []
        if self.info.interlaced:
            frames = deinterlaced(frames, self.info.time_base)
        base: Decoded | None = None
        if at is not None:
            base = next(itertools.islice(frames, at.decoded - 1, None), None)
            if base is None or base.frame.pts != at.raw:
                raise InputError(
                    f"Frame {at.frame - 1} of {self._name} is not where it was before.",
                    "The file may have changed: run again with --fresh.",
                )
        return _Run(frames, self._decoding, base)

    def _sought(self, at: Position) -> _Run:
        """Frames behind a position, decoded from a keyframe.

        Raises:
            NotExact: they would not equal straight decoding.
        """
        if self._index is None or not isinstance(self._source, Path):
            raise NotExact("its packets have not been listed")
        reason: NotExact | None = None
        target = check_seekable(self._container, self._stream, self._index, at)
        for margin in MARGINS:
            key = choose_keyframe(self._index, target, at, margin)
            if key == 0:
                if reason is not None:
                    break
                return self._straight(at)
            for reached, packets in _WAYS.items():
                try:
                    run = self._decode_from(self._index, key, target, packets, at)
                except PacketsDiffer as exc:
                    reason = exc
                except NotExact as exc:
                    reason = exc
                    break
                else:
                    self.reached = reached
                    return run
        assert reason is not None
        raise reason

    def _decode_from(
        self, index: PacketIndex, key: int, target: int, packets: Packets, at: Position
    ) -> _Run:
        """Frames behind a position; the one before it is decoded again and checked."""
        assert isinstance(self._source, Path)
        self._sought_in.close()
        container = self._sought_in.enter_context(open_input(self._source))
        stream = main_video(container, self._name)
        decoding = Decoding(
            stream, packets(container, stream, index, key), index.shown(key)
        )
        self._decodings.append(decoding)
        frames = iter(decoding)
        if self.info.interlaced:
            frames = deinterlaced(frames, self.info.time_base)
        for item in frames:
            if item.frame.pts == at.raw:
                if at.check in (None, checksum(self._to_rgb(item.frame))):
                    return _Run(frames, decoding, item)
                break
            if decoding.packets > index.shown(target) + MARGINS[-1]:
                break
        raise NotExact("frames decode differently behind a keyframe")

    def _report(self, end: Position, lost: int) -> None:
        if self._path is not None:
            check_unchanged(self._path, self._stamp)
        if not end.frame:
            raise InputError(
                f"Not one frame of {self._name} could be decoded"
                + (f" between {self._start:g} s and its end." if self._start else "."),
                "Check that it plays elsewhere"
                + (", and that --start lies inside it." if self._start else "."),
            )
        damaged, size = max(lost, end.damaged), f"{self.info.width}x{self.info.height}"
        rate = f"{float(self.info.rate):g}"
        for count, text in (
            (damaged, "coded frames of the input are damaged and could not be decoded"),
            (end.marred, "frames of the input are damaged and show it"),
            (
                end.resized,
                f"frames were scaled to {size} first, as the frame size changes inside "
                "the input",
            ),
            (
                end.missing,
                f"frames had no timestamp; they follow at {rate} frames per second",
            ),
            (
                end.moved,
                "timestamps were repeated or ran backwards; they were moved just past "
                "the one before",
            ),
        ):
            if count > 0:
                self.warnings.append(f"{count} {text}.")

    def _look(
        self, deinterlace: str, expected: Extent | None
    ) -> tuple[SourceInfo, list[Decoded]]:
        """Decode the first frames: only they tell the truth about colour and fields."""
        self._start_decoding()
        wanted = _DETECT_FRAMES if deinterlace == "auto" else 1
        items = list(itertools.islice(self._decoded, wanted))
        early = [item.frame for item in items]
        if not early:
            raise InputError(
                f"Not one frame of {self._name} could be decoded.",
                "The file may be damaged or cut off; check that it plays elsewhere.",
            )
        self._check_damage(self._decoding, 0)
        header = describe_video(self._container, self._stream)
        self._fields = header.field_order > 1 or any(f.interlaced_frame for f in early)
        frame = early[0]
        pix_fmt = frame.format.name
        time_base = Fraction(frame.time_base or header.time_base)
        interlaced = deinterlace == "on" or (
            deinterlace == "auto" and looks_interlaced(early, time_base, header.codec)
        )
        if interlaced and deinterlace == "auto":
            self.warnings.append(
                "The input is interlaced: it was deinterlaced "
                "(--deinterlace off keeps the fields)."
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
            colour=resolve(
                tagged_colour(frame, header),
                frame.width,
                frame.height,
                rgb=is_rgb(pix_fmt),
            ),
            pix_fmt=pix_fmt,
            codec=header.codec,
            interlaced=interlaced,
            display_matrix=display_matrix(frame),
            companions=tuple(
                other.type
                for other in self._container.streams
                if other.index != self._stream.index
            ),
            hdr=static_hdr(frame),
        )
        return info, items

    def _start_decoding(self) -> None:
        self._decoding = Decoding(self._stream, self._container.demux(self._stream))
        self._decodings.append(self._decoding)
        self._decoded = iter(self._decoding)

    def _reopened(self) -> InputContainer:
        if not isinstance(self._source, Path):
            raise InputError(
                f"{self._name} can be read only once.", "Write it to a file first."
            )
        self._opened.close()
        return self._opened.enter_context(open_input(self._source))

    def _check_extent(self, extent: Extent | None) -> None:
        if extent is None or self._path is None:
            return
        try:
            self.warnings += check_complete(
                self._path,
                self._structure.missing,
                extent.length(self._stamp[0] if self._structure.clusters else 0),
                rate=self.info.rate,
                start=self._start,
                duration=self._duration,
            )
        except InputError:
            self.close()
            raise

    def _check_damage(self, decoding: Decoding, lost: int) -> None:
        bad, packets = decoding.failed(lost)
        if packets >= _JUDGED_PACKETS and 2 * bad > packets:
            raise InputError(
                f"Most frames of {self._name} do not decode ({bad} of {packets}).",
                "It may be encrypted or badly damaged; check that it plays elsewhere.",
            )
