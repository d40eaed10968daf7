"""Joining segments without re-encoding, beside everything else the source holds."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from upframe.errors import OutputError
from upframe.media.audio import AudioRecoder
from upframe.media.codecs import Audio
from upframe.media.complete import check_unchanged, stamp_of
from upframe.media.container import open_input
from upframe.media.encoder import encode_sample, output_error
from upframe.media.formats import VideoFormat
from upframe.media.packets import Segment, merge, video_packets
from upframe.media.probe import main_video
from upframe.media.streams import Choice, Handler, choose_streams, handler_for

_TECHNICAL = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
)
_SHIFTED = (
    "The input's clock starts below zero, which no player expects: all timestamps are "
    "{:.3f} s later. Sound and video stay together."
)
_PREFIXES = ("_statistics", "bps", "number_of_", "duration")


@dataclass(frozen=True)
class Window:
    """The part of the source that is taken, in seconds of its own clock."""

    start: Fraction
    stop: Fraction | None


@dataclass
class JoinResult:
    """What went into the file."""

    shift: Fraction = Fraction(0)
    """Seconds that were added to all times of the source."""
    warnings: list[str] = field(default_factory=list)
    packets: dict[str, list[int]] = field(default_factory=dict)
    """Packets written to each track, by type and in order; covers do not count."""
    metadata: frozenset[str] = frozenset()
    """Names of the file's tags, in lower case."""
    video_track: int = 0
    """Index of the upscaled video among the video tracks."""


def join(
    segments: Sequence[Segment],
    path: Path,
    format: VideoFormat,
    *,
    time_base: Fraction,
    last_duration: int,
    display_matrix: tuple[int, ...] | None = None,
    source: Path | None = None,
    window: Window | None = None,
    provenance: str = "",
    audio: Audio = "keep",
) -> JoinResult:
    """Write the result: coded video from the segments, all else from the source.

    Sound, subtitles, attachments, chapters, covers, further videos, metadata,
    languages and dispositions are copied where the container can hold them; text
    subtitles and sound are converted where it cannot. The result reports what is left
    out.

    Args:
        segments: work files in order.
        path: file to write; the caller renames it when it is verified.
        format: how the segments were coded.
        time_base: unit of the segments' timestamps.
        last_duration: duration of the last frame in that unit; 0 when unknown.
        display_matrix: rotation and flips to tag the video with.
        source: where the other streams come from; none when None.
        window: part of the source that is taken; timestamps then begin at zero.
        provenance: text of the tag that names tool and model.
        audio: what to do with sound.

    Raises:
        InputError: the source changed meanwhile.
        OutputError: writing failed.
    """
    first_time = segments[0].pts[0] * time_base
    shift = -window.start if window else max(Fraction(0), -first_time)
    result = JoinResult(shift=shift)
    if shift > 0:
        result.warnings.append(_SHIFTED.format(float(shift)))
    stamp = stamp_of(source) if source else None
    try:
        with ExitStack() as stack:
            first = stack.enter_context(open_input(segments[0].path))
            out = stack.enter_context(_open_output(path, format, time_base))
            plan = _Plan(out, format, result)
            if source is not None:
                container = stack.enter_context(open_input(source))
                plan.add_source(container, source, first, audio, window)
            else:
                plan.add_video(first, None)
            plan.tag(provenance)
            plan.video.time_base = time_base
            if display_matrix is not None:
                plan.video.set_display_matrix(display_matrix)
            packets = video_packets(segments, time_base, shift, last_duration)
            others = plan.other_packets(window, shift)
            plan.write(merge(plan.video, packets, others))
    except (av.error.FFmpegError, OSError) as exc:
        raise output_error(exc, path) from exc
    if source is not None and stamp is not None:
        check_unchanged(source, stamp)
    return result


def rehearse(
    source: Path | None, format: VideoFormat, time_base: Fraction, audio: Audio = "keep"
) -> list[str]:
    """Write the header and first packets of a join to memory, before the work begins.

    Args:
        source: where the other streams come from; none when None.
        format: how the video will be coded.
        time_base: unit of its timestamps.
        audio: what to do with sound.

    Returns:
        What will be converted or left out, as sentences for the report.

    Raises:
        InputError: sound can neither be copied nor decoded.
        UsageError: the encoder refuses its options.
        OutputError: the container cannot hold the video beside these streams.
    """
    result = JoinResult()
    sample = encode_sample(format)
    try:
        with ExitStack() as stack:
            first = stack.enter_context(open_input(io.BytesIO(sample)))
            out = stack.enter_context(_open_output(io.BytesIO(), format, time_base))
            plan = _Plan(out, format, result)
            if source is not None:
                container = stack.enter_context(open_input(source))
                plan.add_source(container, source, first, audio, None)
            else:
                plan.add_video(first, None)
            plan.video.time_base = time_base
            packet = next(p for p in first.demux() if p.size)
            packet.stream, packet.time_base = plan.video, time_base
            packet.pts = packet.dts = 0
            out.mux_one(packet)
    except (av.error.FFmpegError, ValueError, OSError) as exc:
        raise OutputError(
            f"{format.muxer} does not take {format.encoder} beside the streams of the "
            f"input: {exc}.",
            "Choose another container or -c:v, for example -o NAME.mkv.",
        ) from exc
    return result.warnings


def _open_output(
    target: Path | IO[bytes], format: VideoFormat, time_base: Fraction
) -> OutputContainer:
    file: Any = f"file:{target.absolute()}" if isinstance(target, Path) else target
    options = _muxer_options(format.muxer, time_base)
    return av.open(file, "w", format=format.muxer, options=options)


def countable_tracks(container: Any) -> dict[str, list[Any]]:
    """Video, audio and subtitle tracks by type; covers are left out.

    Covers move: MP4 keeps them apart from its tracks, Matroska as attachments.
    """
    tracks: dict[str, list[Any]] = {"video": [], "audio": [], "subtitle": []}
    for stream in container.streams:
        cover = stream.disposition & Disposition.attached_pic
        if stream.type in tracks and not cover:
            tracks[stream.type].append(stream)
    return tracks


class _Plan:
    """The streams of the output, and where the packets of each come from."""

    def __init__(
        self, out: OutputContainer, format: VideoFormat, result: JoinResult
    ) -> None:
        self.out, self.format, self.result = out, format, result
        self.video: Any = None
        self._targets: dict[int, Any] = {}
        self._handlers: dict[int, Handler] = {}
        self._container: InputContainer | None = None

    def add_video(self, segment: InputContainer, original: Stream | None) -> None:
        """Add the upscaled video with all tags of its format set."""
        template = segment.streams.video[0]
        stream: Any = self.out.add_stream_from_template(template, opaque=True)
        context = stream.codec_context
        context.sample_aspect_ratio = self.format.sar
        context.colorspace = self.format.colour.matrix
        context.color_range = self.format.colour.range
        context.color_primaries = self.format.colour.primaries
        context.color_trc = self.format.colour.transfer
        if self.format.encoder == "libx265" and self.format.muxer in ("mp4", "mov"):
            context.codec_tag = "hvc1"
        if original is not None:
            _copy_tags(original, stream)
        if self.format.alpha and self.format.encoder == "libvpx-vp9":
            stream.metadata["alpha_mode"] = "1"
        self.video = stream

    def add_source(
        self,
        container: InputContainer,
        path: Path,
        segment: InputContainer,
        audio: Audio,
        window: Window | None,
    ) -> None:
        """Add the video and all other streams in the order of the source."""
        self._container = container
        choices = {c.index: c for c in choose_streams(path, self.format.muxer, audio)}
        main = main_video(container, str(path))
        for stream in container.streams:
            if stream.index == main.index:
                self.add_video(segment, stream)
            elif stream.index in choices:
                self._add_other(stream, choices[stream.index], path)
        metadata = {
            key: value
            for key, value in container.metadata.items()
            if key.lower() not in _TECHNICAL
        }
        self.out.metadata.update(metadata)
        self._add_chapters(container, window)

    def _add_chapters(self, container: InputContainer, window: Window | None) -> None:
        chapters = container.chapters()
        if window:
            for chapter in chapters:
                base = chapter["time_base"] or Fraction(1, 1000)
                chapter["start"] -= round(window.start / base)
                chapter["end"] -= round(window.start / base)
                if window.stop is not None:
                    limit = round((window.stop - window.start) / base)
                    chapter["end"] = min(chapter["end"], limit)
                chapter["start"] = max(0, chapter["start"])
            chapters = [c for c in chapters if c["end"] > c["start"]]
        if chapters and self.format.muxer == "webm":
            self.result.warnings.append("WebM chapters are kept without nesting.")
        if chapters:
            self.out.set_chapters(chapters)

    def _add_other(self, stream: Stream, choice: Choice, path: Path) -> None:
        if choice.note:
            self.result.warnings.append(choice.note)
        if choice.action == "attach":
            _copy_tags(stream, self.out.add_stream_from_template(stream))
        elif choice.action == "cover":
            self._attach_cover(stream, path)
        elif choice.action != "drop":
            handler = handler_for(choice, stream, self.format.muxer)
            target = handler.add_to(self.out)
            _copy_tags(stream, target)
            self._targets[stream.index] = target
            self._handlers[stream.index] = handler

    def _attach_cover(self, stream: Stream, path: Path) -> None:
        """Matroska holds covers as attachments."""
        with open_input(path) as container:
            packets = container.demux(container.streams[stream.index])
            image = bytes(next(packet for packet in packets if packet.size))
        codec = stream.codec_context.name
        kind = {"mjpeg": "jpeg"}.get(codec, codec)
        name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
        mime = stream.metadata.get("mimetype", f"image/{kind}")
        self.out.add_attachment(name, mime, image)

    def tag(self, provenance: str) -> None:
        """Say in the file's tags how it was made."""
        if not provenance:
            return
        metadata = self.out.metadata
        if self.format.muxer != "mp4":
            metadata["UPFRAME"] = provenance
            return
        # MP4 holds a fixed set of tags; the first that is free takes it.
        free = next((k for k in ("comment", "description") if k not in metadata), None)
        if free:
            metadata[free] = provenance
        else:
            metadata["comment"] += f" | {provenance}"

    def other_packets(
        self, window: Window | None, shift: Fraction
    ) -> Iterator[tuple[Any, Packet[Any]]]:
        """The packets of all other streams that lie in the window, times shifted."""
        if self._container is None or not self._targets:
            return
        wanted = [self._container.streams[index] for index in self._targets]
        last: dict[int, int] = {}
        for packet in self._container.demux(*wanted):
            index = packet.stream.index
            cover = packet.stream.disposition & Disposition.attached_pic
            if not packet.size or not (cover or _inside(packet, window)):
                continue
            base = packet.time_base
            offset = 0 if cover else round(shift / base)
            if packet.pts is None:
                packet.pts = packet.dts  # AVI's video
            if packet.pts is not None:
                packet.pts += offset
            if packet.dts is not None:
                packet.dts = max(packet.dts + offset, last.get(index, -(1 << 62)))
                last[index] = packet.dts
                if packet.pts is not None and packet.pts < packet.dts:
                    packet.pts = packet.dts
            for converted in self._handlers[index].convert(packet):
                yield self._targets[index], converted
        for index, handler in self._handlers.items():
            for converted in handler.flush():
                yield self._targets[index], converted

    def write(self, packets: Iterable[tuple[Any, Packet[Any]]]) -> None:
        """Mux all packets, and note in the result how many went into each track.

        Raises:
            av.error.FFmpegError: writing failed.
        """
        self.result.metadata = frozenset(key.lower() for key in self.out.metadata)
        written: Counter[int] = Counter()
        refused: Counter[str] = Counter()
        for stream, packet in packets:
            packet.stream = stream
            size = packet.size  # FLAC's last packet only updates the header
            try:
                self.out.mux_one(packet)
            except av.error.FFmpegError as exc:
                # A full disk is an OSError; the rest is the packet's own fault.
                if stream is self.video or isinstance(exc, OSError):
                    raise
                refused[f"{stream.type} stream"] += 1
                continue
            written[stream.index] += bool(size)
        self.result.warnings += [
            f"{count} damaged packets of the {name} are left out."
            for name, count in refused.items()
        ]
        for handler in self._handlers.values():
            if isinstance(handler, AudioRecoder) and handler.damaged:
                self.result.warnings.append(
                    f"{handler.damaged} packets of the sound did not decode and are "
                    "silent."
                )
        self._count(written)

    def _count(self, written: Counter[int]) -> None:
        tracks = countable_tracks(self.out)
        if self.format.muxer in ("mp4", "mov"):
            # They write no track without packets, but for subtitles.
            for kind in ("video", "audio"):
                for stream in [s for s in tracks[kind] if not written[s.index]]:
                    tracks[kind].remove(stream)
                    self.result.warnings.append(
                        f"The {kind} stream {stream.index} is left out: it holds "
                        "nothing in the part that is taken."
                    )
        self.result.packets = {
            kind: [written[stream.index] for stream in streams]
            for kind, streams in tracks.items()
        }
        videos = [stream.index for stream in tracks["video"]]
        self.result.video_track = videos.index(self.video.index)


def _inside(packet: Packet[Any], window: Window | None) -> bool:
    """Whether a packet lies in the window; one without timestamps always does."""
    at = packet.pts if packet.pts is not None else packet.dts
    if window is None or at is None:
        return True
    when = at * packet.time_base
    return when >= window.start and (window.stop is None or when < window.stop)


def _copy_tags(source: Stream, target: Any) -> None:
    for key, value in source.metadata.items():
        low = key.lower()
        if low in _TECHNICAL or low.startswith(_PREFIXES):
            continue
        target.metadata[key] = value
    target.disposition = source.disposition


def _muxer_options(muxer: str, time_base: Fraction) -> dict[str, str]:
    """Options that keep times as they are, and the same input the same bytes."""
    # Without it Matroska gets random identifiers.
    options = {"fflags": "+bitexact"}
    if muxer not in ("mp4", "mov"):
        # Else the sound's encoder delay, a few ms below zero, moves everything.
        return {**options, "avoid_negative_ts": "disabled"}
    # Edit lists count in this unit; FFmpeg's 1/1000 would round the start.
    scale = time_base.denominator
    while scale < 10000:
        scale *= 2
    if muxer == "mov":
        options["movflags"] = "use_metadata_tags"  # any tag, not only QuickTime's own
    options["movie_timescale"] = str(scale if scale <= 10_000_000 else 1000)
    return options
