"""Joining segments without re-encoding, beside everything else the source holds."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from upframe.media.container import open_input
from upframe.media.encoder import output_error
from upframe.media.formats import VideoFormat
from upframe.media.packets import Segment, merge, video_packets
from upframe.media.probe import main_video
from upframe.media.subtitles import SubtitleConverter, converter_for

_TECHNICAL = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
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
    """Names of the tags of the file, in lower case."""
    video_track: int = 0
    """Place of the upscaled video among the video tracks."""


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
) -> JoinResult:
    """Write the result: coded video from the segments, all else from the source.

    Sound, subtitles, attachments, chapters, covers, further videos, metadata,
    languages and dispositions are copied where the container can hold them; text
    subtitles are converted where it cannot. What is left out is said in the result.

    Args:
        segments: work files in order.
        path: file to write; the caller renames it when it is verified.
        format: how the segments were coded.
        time_base: unit of the segments' timestamps.
        last_duration: duration of the last frame in that unit; 0 when unknown.
        display_matrix: rotation and flips to tag the video with.
        source: where the other streams come from; none when None.
        window: part of the source that is taken; timestamps then begin at zero.
        provenance: text of the tag that says how the file was made.

    Raises:
        OutputError: writing failed.
    """
    first_time = segments[0].pts[0] * time_base
    shift = -window.start if window else max(Fraction(0), -first_time)
    result = JoinResult(shift=shift)
    if shift > 0:
        result.warnings.append(
            f"The input's clock starts below zero, which no player expects: all "
            f"timestamps are {float(shift):.3f} s later. Sound and picture stay "
            "together."
        )
    inputs: list[InputContainer] = []
    try:
        first = open_input(segments[0].path)
        inputs.append(first)
        out = av.open(
            f"file:{path.absolute()}",
            "w",
            format=format.muxer,
            options=_muxer_options(format.muxer, time_base),
        )
        with out:
            plan = _Plan(out, format, result)
            if source is not None:
                container = open_input(source)
                inputs.append(container)
                plan.add_source(container, first, source, window)
            else:
                plan.add_video(first, None)
            plan.tag(provenance)
            video = plan.video
            video.time_base = time_base
            if display_matrix is not None:
                video.set_display_matrix(display_matrix)
            packets = video_packets(segments, time_base, shift, last_duration)
            others = plan.other_packets(window, shift)
            result.metadata = frozenset(key.lower() for key in out.metadata)
            written: Counter[int] = Counter()
            refused: Counter[str] = Counter()
            for stream, packet in merge(video, packets, others):
                packet.stream = stream
                try:
                    out.mux_one(packet)
                except av.error.FFmpegError as exc:
                    # A full disk is an OSError; the rest is the packet's own fault.
                    if stream is video or isinstance(exc, OSError):
                        raise
                    refused[f"{stream.type} stream"] += 1
                    continue
                written[stream.index] += 1
            result.warnings += [
                f"{count} damaged packets of the {name} are left out."
                for name, count in refused.items()
            ]
            tracks = countable_tracks(out)
            result.packets = {
                kind: [written[stream.index] for stream in streams]
                for kind, streams in tracks.items()
            }
            result.video_track = [s.index for s in tracks["video"]].index(video.index)
    except (av.error.FFmpegError, OSError) as exc:
        raise output_error(exc, path) from exc
    finally:
        for item in inputs:
            item.close()
    return result


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
        self._copies: dict[int, Any] = {}
        self._converters: dict[int, SubtitleConverter] = {}
        self._container: InputContainer | None = None
        self._path = Path()

    def add_video(self, segment: InputContainer, original: Stream | None) -> None:
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
        segment: InputContainer,
        path: Path,
        window: Window | None,
    ) -> None:
        self._container, self._path = container, path
        main = main_video(container, str(path))
        chapters = container.chapters()
        for stream in container.streams:
            if stream.index == main.index:
                self.add_video(segment, stream)
            elif stream.type == "data" and chapters and "mov" in container.format.name:
                continue  # the text track behind the chapters, which are copied below
            else:
                self._add_other(stream)
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

    def _add_other(self, stream: Stream) -> None:
        label = f"{stream.type} stream {stream.index}"
        if stream.codec_context is not None:
            label += f" ({stream.codec_context.name})"
        if stream.type == "attachment":
            if self.format.muxer == "matroska":
                _copy_tags(stream, self.out.add_stream_from_template(stream))
            else:
                file = stream.metadata.get("filename", "an attachment")
                self._drop(f"attachment {file}")
            return
        if stream.disposition & Disposition.attached_pic and (
            self.format.muxer == "matroska"
        ):
            self._attach_cover(stream)
            return
        if _fits(stream, self.format.muxer):
            copy: Any = self.out.add_stream_from_template(stream, opaque=True)
            _name_channels(copy)
            _copy_tags(stream, copy)
            self._copies[stream.index] = copy
            return
        converter = converter_for(stream, self.format.muxer)
        if converter is None:
            self._drop(label)
            return
        target = converter.add_to(self.out)
        _copy_tags(stream, target)
        self._copies[stream.index] = target
        self._converters[stream.index] = converter
        self.result.warnings.append(
            f"The {label} was converted to {converter.codec}: "
            f"{self.format.muxer} does not hold its own format."
        )

    def _attach_cover(self, stream: Stream) -> None:
        """Matroska holds covers as attachments."""
        with open_input(self._path) as container:
            packets = container.demux(container.streams[stream.index])
            picture = bytes(next(packet for packet in packets if packet.size))
        codec = stream.codec_context.name
        kind = {"mjpeg": "jpeg"}.get(codec, codec)
        name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
        mime = stream.metadata.get("mimetype", f"image/{kind}")
        self.out.add_attachment(name, mime, picture)

    def _drop(self, what: str) -> None:
        hint = "" if self.format.muxer == "matroska" else " (-o NAME.mkv may)"
        self.result.warnings.append(
            f"The {what} is left out: {self.format.muxer} cannot hold it{hint}."
        )

    def tag(self, provenance: str) -> None:
        if not provenance:
            return
        metadata = self.out.metadata
        if self.format.muxer != "mp4":
            metadata["UPFRAME"] = provenance
            return
        # MP4 holds a fixed set of tags; the first that is free says what was done.
        free = next((k for k in ("comment", "description") if k not in metadata), None)
        if free:
            metadata[free] = provenance
        else:
            metadata["comment"] += f" | {provenance}"

    def other_packets(
        self, window: Window | None, shift: Fraction
    ) -> Iterator[tuple[Any, Packet[Any]]]:
        if self._container is None or not self._copies:
            return
        wanted = [self._container.streams[index] for index in self._copies]
        last: dict[int, int] = {}
        for packet in self._container.demux(*wanted):
            if not packet.size:
                continue
            index = packet.stream.index
            picture = packet.stream.disposition & Disposition.attached_pic
            base = packet.time_base
            at = packet.pts if packet.pts is not None else packet.dts
            if window and at is not None and not picture:
                when = at * base
                if when < window.start or (
                    window.stop is not None and when >= window.stop
                ):
                    continue
            offset = 0 if picture else round(shift / base)
            if packet.pts is not None:
                packet.pts += offset
            if packet.dts is not None:
                packet.dts = max(packet.dts + offset, last.get(index, -(1 << 62)))
                last[index] = packet.dts
                if packet.pts is not None and packet.pts < packet.dts:
                    packet.pts = packet.dts
            if index in self._converters:
                converted = self._converters[index].convert(packet)
                if converted is None:
                    continue
                packet = converted
            yield self._copies[index], packet


def _copy_tags(source: Stream, target: Any) -> None:
    for key, value in source.metadata.items():
        low = key.lower()
        if low in _TECHNICAL or low.startswith(_PREFIXES):
            continue
        target.metadata[key] = value
    target.disposition = source.disposition


_LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def _name_channels(stream: Any) -> None:
    """Matroska may count channels without naming them; MP4's PCM needs the names."""
    if stream.type == "audio" and stream.codec_context.layout.name.endswith("channels"):
        count = stream.codec_context.layout.nb_channels
        if count in _LAYOUTS:
            stream.codec_context.layout = _LAYOUTS[count]


def _fits(stream: Stream, muxer: str) -> bool:
    """Whether a container can hold a stream, found by writing a header with it."""
    if stream.codec_context is None:
        return False
    if stream.disposition & Disposition.attached_pic and muxer == "webm":
        return False
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


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
