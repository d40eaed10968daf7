"""The tracks of an output file, and where the packets of each come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from upframe.media.audio import AudioRecoder
from upframe.media.codecs import Audio
from upframe.media.container import open_input
from upframe.media.formats import VideoFormat
from upframe.media.probe import main_video
from upframe.media.streams import Choice, Handler, choose_streams, handler_for

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
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """Bytes in those packets."""
    metadata: frozenset[str] = frozenset()
    """Names of the file's tags, in lower case."""
    video_track: int = 0
    """Index of the upscaled video among the video tracks."""


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


class OutputTracks:
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
        sizes: Counter[int] = Counter()
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
            sizes[stream.index] += size
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
        self._count(written, sizes)

    def _count(self, written: Counter[int], sizes: Counter[int]) -> None:
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
        self.result.sizes = {
            kind: [sizes[stream.index] for stream in streams]
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
