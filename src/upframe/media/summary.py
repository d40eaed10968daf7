"""What a video file shows and carries, read in one pass at low resolution."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.stream import Disposition
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from upframe.errors import InputError
from upframe.media.colour import Colour, ToRGB, bit_depth, has_alpha, is_rgb, resolve
from upframe.media.container import friendly_errors, open_input
from upframe.media.frames import Hdr
from upframe.media.probe import describe_video, main_video
from upframe.media.side_data import display_matrix, static_hdr
from upframe.media.subtitles import plain_text

SIDE = 24
"""Thumbnails are square, so that turned ones can be compared."""


@dataclass
class Track:
    """One stream beside the main video."""

    kind: str
    """``audio``, ``video``, ``subtitle``, ``cover`` or ``attachment``."""
    codec: str
    language: str
    hashes: list[str] = field(default_factory=list)
    """SHA-256 of each packet's payload."""
    times: list[Fraction] = field(default_factory=list)
    """Presentation times of the packets in seconds, where they have any."""
    texts: list[str] = field(default_factory=list)
    """What subtitles say, where they are text."""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.kind} ({self.codec}{', ' * bool(self.language)}{self.language})"


@dataclass
class Summary:
    """What a file shows and carries."""

    path: Path
    format: str
    size: tuple[int, int]
    """Width and height as coded."""
    sar: Fraction
    tick: Fraction
    """Unit of the video's timestamps in seconds."""
    depth: int
    alpha: bool
    tags: Colour
    """Colour tags as found."""
    colour: Colour
    """The same, with missing tags filled in as players do."""
    matrix: tuple[int, ...] | None
    """Display matrix: rotation and flips."""
    hdr: Hdr
    interlaced: bool
    """Whether most frames are flagged as interlaced."""
    times: list[Fraction]
    """Presentation time of each frame in seconds."""
    thumbnails: NDArray[np.uint8]
    """(N, 24, 24, 3) RGB by the file's own tags, as coded."""
    damaged: int
    """Packets of the video that did not decode."""
    tracks: list[Track]
    chapters: list[tuple[Fraction, Fraction, str]]
    """Start, end and title."""
    metadata: dict[str, str]
    """Names of the file's tags in lower case, and their values."""


def summarize(path: Path) -> Summary:
    """Demux a file once and decode its main video.

    Raises:
        InputError: it cannot be read, or holds no video that decodes.
    """
    with open_input(path) as container, friendly_errors("read", str(path)):
        stream = main_video(container, str(path))
        header = describe_video(container, stream)
        stream.codec_context.thread_type = "AUTO"
        tracks = {s.index: _track(s) for s in container.streams if s is not stream}
        tracks.pop(stream.index, None)
        looks = _Looks(header.colour, 1 / header.rate)
        damaged = 0
        for packet in _packets(container):
            track = tracks.get(packet.stream.index)
            if track is not None:
                _note(track, packet)
            elif packet.stream.index == stream.index:
                try:
                    for frame in stream.codec_context.decode(packet):
                        looks.add(frame, header.time_base)
                except av.error.FFmpegError:
                    damaged += 1
        for frame in stream.codec_context.decode(None):
            looks.add(frame, header.time_base)
        if looks.first is None:
            raise InputError(
                f"Not one frame of {path} could be decoded.",
                "Check that it plays elsewhere.",
            )
        for item in container.streams.attachments:
            tracks[item.index].hashes = [hashlib.sha256(item.data).hexdigest()]
        return Summary(
            path=path,
            format=container.format.name,
            size=(looks.first.width, looks.first.height),
            sar=header.sar,
            tick=header.time_base,
            depth=bit_depth(looks.first.format.name),
            alpha=has_alpha(looks.first.format.name) or header.alpha,
            tags=looks.tags,
            colour=looks.colour,
            matrix=display_matrix(looks.first),
            hdr=static_hdr(looks.first),
            interlaced=2 * looks.interlaced > len(looks.times),
            times=looks.times,
            thumbnails=np.stack(looks.thumbnails),
            damaged=damaged,
            tracks=[tracks[index] for index in sorted(tracks)],
            chapters=[
                (
                    chapter["start"] * Fraction(chapter["time_base"] or 1),
                    chapter["end"] * Fraction(chapter["time_base"] or 1),
                    chapter["metadata"].get("title", ""),
                )
                for chapter in container.chapters()
            ],
            metadata={k.lower(): v for k, v in container.metadata.items()},
        )


class _Looks:
    """What the frames look like, gathered while they are decoded."""

    def __init__(self, header: Colour, step: Fraction) -> None:
        self._header, self._step = header, step
        self._to_rgb: ToRGB | None = None
        self.first: VideoFrame | None = None
        self.tags = self.colour = header
        self.times: list[Fraction] = []
        self.thumbnails: list[NDArray[np.uint8]] = []
        self.interlaced = 0

    def add(self, frame: VideoFrame, time_base: Fraction) -> None:
        if self._to_rgb is None:
            self._start(frame)
        assert self._to_rgb is not None
        self.interlaced += bool(frame.interlaced_frame)
        pts = frame.pts if frame.pts is not None else frame.dts
        base = Fraction(frame.time_base or time_base)
        last = self.times[-1] if self.times else -self._step
        self.times.append(last + self._step if pts is None else pts * base)
        thumbnail: Any = self._to_rgb(frame)
        self.thumbnails.append(thumbnail)

    def _start(self, frame: VideoFrame) -> None:
        pix_fmt = frame.format.name
        header = self._header
        self.first = frame
        self.tags = Colour(
            matrix=_known(frame.colorspace, header.matrix),
            primaries=_known(frame.color_primaries, header.primaries),
            transfer=_known(frame.color_trc, header.transfer),
            range=2
            if pix_fmt.startswith("yuvj")
            else int(frame.color_range) or header.range,
        )
        self.colour = resolve(self.tags, frame.width, frame.height, rgb=is_rgb(pix_fmt))
        self._to_rgb = ToRGB(self.colour, SIDE, SIDE, alpha=False, deep=False)


def _known(*values: Any) -> int:
    return next((int(v) for v in values if int(v) not in (0, 2, 3)), 2)


def _packets(container: Any) -> Iterator[Any]:
    try:
        for packet in container.demux():
            if packet.size:
                yield packet
    except av.error.FFmpegError:
        return  # a damaged end: what came before it counts


def _track(stream: Any) -> Track:
    cover = stream.disposition & Disposition.attached_pic
    context = stream.codec_context
    language = stream.metadata.get("language", "")
    return Track(
        kind="cover" if cover else stream.type,
        codec=context.codec.canonical_name
        if context is not None
        else stream.metadata.get("filename", ""),
        language="" if language == "und" else language,
    )


def _note(track: Track, packet: Any) -> None:
    data = bytes(packet)
    if track.kind == "subtitle":
        text = plain_text(data, track.codec)
        if text is not None:
            track.texts.append(text.strip())
    if track.codec == "aac" and len(data) > 7 and data[0] == 0xFF and data[1] >= 0xF0:
        data = data[7 if data[1] & 1 else 9 :]  # ADTS frames itself, MP4 does not
    track.hashes.append(hashlib.sha256(data).hexdigest())
    at = packet.pts if packet.pts is not None else packet.dts
    if at is not None:
        track.times.append(at * packet.time_base)
