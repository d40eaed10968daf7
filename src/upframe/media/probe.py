"""What a media file holds, read without decoding it all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from upframe.errors import InputError
from upframe.media.colour import Colour, bit_depth, has_alpha
from upframe.media.container import friendly_errors, open_input


@dataclass(frozen=True)
class StreamInfo:
    """One stream as the container describes it."""

    index: int
    type: str
    """``video``, ``audio``, ``subtitle``, ``data`` or ``attachment``."""
    codec: str
    language: str | None
    title: str | None
    attached_picture: bool
    """A cover image, not a video."""


@dataclass(frozen=True)
class VideoInfo:
    """The facts of a video stream that a plan is made from."""

    index: int
    codec: str
    width: int
    height: int
    pix_fmt: str
    depth: int
    """Bits per sample."""
    alpha: bool
    sar: Fraction
    """Sample aspect ratio; 1 when untagged."""
    rate: Fraction
    """Average frames per second by the header; 25 when it has none."""
    time_base: Fraction
    """Seconds per timestamp unit."""
    frames: int
    """Frames by the header, else duration times rate; an estimate, 0 unknown."""
    duration: float
    """Seconds; 0 when unknown."""
    colour: Colour
    """Tags as found in the header, not yet resolved."""
    field_order: int
    """FFmpeg's AVFieldOrder: 0 unknown, 1 progressive, above that interlaced."""


@dataclass(frozen=True)
class MediaInfo:
    """A media file: its main video and everything beside it."""

    path: str
    format: str
    duration: float
    """Seconds; 0 when unknown."""
    video: VideoInfo
    streams: tuple[StreamInfo, ...]
    chapters: int
    metadata: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values; fractions become ``"num/den"``."""
        values: dict[str, Any] = _jsonable(asdict(self))
        return values


def _jsonable(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value


def main_video(container: InputContainer, name: str) -> VideoStream:
    """The video to upscale: the default track, else the first; never cover art.

    Raises:
        InputError: there is no video, only sound, covers or data.
    """
    tracks = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context
    ]
    if not tracks:
        kinds = sorted({stream.type for stream in container.streams})
        raise InputError(
            f"{name} holds no video track (found: {', '.join(kinds) or 'nothing'}).",
            "Name a file with a video, or a folder of images.",
        )
    chosen = next((t for t in tracks if t.disposition & Disposition.default), tracks[0])
    ctx = chosen.codec_context
    if not ctx.width or not ctx.height or ctx.format is None:
        raise InputError(
            f"The video track of {name} cannot be decoded "
            f"(codec {ctx.name}, size {ctx.width}x{ctx.height}).",
            "The file may be damaged, or its codec unknown to this FFmpeg.",
        )
    return chosen


def describe_video(container: InputContainer, stream: VideoStream) -> VideoInfo:
    """Facts of one video stream of an open container."""
    ctx = stream.codec_context
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    time_base = Fraction(stream.time_base or Fraction(1, 90000))
    if not 0 < rate <= 1000:
        rate = Fraction(stream.guessed_rate or 25)
    if not 0 < rate <= 1000:
        rate = Fraction(25)
    if stream.duration:
        duration = float(stream.duration * time_base)
    else:
        duration = (container.duration or 0) / 1e6
    alpha = (
        has_alpha(ctx.pix_fmt or "yuv420p") or stream.metadata.get("alpha_mode") == "1"
    )
    return VideoInfo(
        index=stream.index,
        codec=ctx.name,
        width=ctx.width,
        height=ctx.height,
        pix_fmt=ctx.pix_fmt or "yuv420p",
        depth=bit_depth(ctx.pix_fmt or "yuv420p"),
        alpha=alpha,
        sar=Fraction(stream.sample_aspect_ratio or 1),
        rate=rate,
        time_base=time_base,
        frames=stream.frames or round(duration * rate),
        duration=duration,
        colour=Colour(
            matrix=int(ctx.colorspace),
            primaries=int(ctx.color_primaries),
            transfer=int(ctx.color_trc),
            range=int(ctx.color_range),
        ),
        field_order=int(getattr(ctx, "field_order", 0)),  # not in PyAV 17
    )


def tagged_colour(frame: VideoFrame, header: VideoInfo) -> Colour:
    """Colour tags of a decoded frame, and of the header where the frame has none."""
    full = frame.format.name.startswith("yuvj")
    return Colour(
        matrix=_first_known(frame.colorspace, header.colour.matrix),
        primaries=_first_known(frame.color_primaries, header.colour.primaries),
        transfer=_first_known(frame.color_trc, header.colour.transfer),
        range=2 if full else int(frame.color_range) or header.colour.range,
    )


def _first_known(*values: Any) -> int:
    return next((int(v) for v in values if int(v) not in (2, 3)), 2)


def probe(path: str | Path) -> MediaInfo:
    """Read what a media file holds.

    Raises:
        InputError: it cannot be read, or holds no video.
    """
    path = Path(path)
    with open_input(path) as container, friendly_errors("read", str(path)):
        video = describe_video(container, main_video(container, str(path)))
        streams = tuple(
            StreamInfo(
                index=stream.index,
                type=stream.type,
                codec=stream.codec_context.codec.canonical_name
                if stream.codec_context
                else "",
                language=stream.metadata.get("language"),
                title=stream.metadata.get("title"),
                attached_picture=bool(stream.disposition & Disposition.attached_pic),
            )
            for stream in container.streams
        )
        return MediaInfo(
            path=str(path),
            format=container.format.name,
            duration=(container.duration or 0) / 1e6,
            video=video,
            streams=streams,
            chapters=len(container.chapters()),
            metadata=dict(container.metadata),
        )
