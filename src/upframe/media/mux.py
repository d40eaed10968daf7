"""Joining segments without re-encoding, beside everything else the source holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.container import OutputContainer

from upframe.errors import OutputError
from upframe.media.codecs import Audio
from upframe.media.complete import check_unchanged, stamp_of
from upframe.media.container import open_input
from upframe.media.encoder import encode_sample, output_error
from upframe.media.formats import VideoFormat
from upframe.media.packets import Segment, merge, video_packets
from upframe.media.tracks import JoinResult, OutputTracks, Window

__all__ = ["JoinResult", "Window", "join", "rehearse"]

_SHIFTED = (
    "The input's clock starts below zero, which no player expects: all timestamps are "
    "{:.3f} s later. Sound and video stay together."
)


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
    shift, result = _begin(segments[0].pts[0] * time_base, window)
    stamp = stamp_of(source) if source else None
    try:
        with ExitStack() as stack:
            first = stack.enter_context(open_input(segments[0].path))
            out = stack.enter_context(_open_output(path, format, time_base))
            tracks = OutputTracks(out, format, result)
            if source is not None:
                container = stack.enter_context(open_input(source))
                tracks.add_source(container, source, first, audio, window)
            else:
                tracks.add_video(first, None)
            tracks.tag(provenance)
            tracks.video.time_base = time_base
            if display_matrix is not None:
                tracks.video.set_display_matrix(display_matrix)
            packets = video_packets(segments, time_base, shift, last_duration)
            others = tracks.other_packets(window, shift)
            tracks.write(merge(tracks.video, packets, others))
    except (av.error.FFmpegError, OSError) as exc:
        raise output_error(exc, path) from exc
    if source is not None and stamp is not None:
        check_unchanged(source, stamp)
    return result


def _begin(first_time: Fraction, window: Window | None) -> tuple[Fraction, JoinResult]:
    """Seconds to add to all times of the source, and the result to fill."""
    shift = -window.start if window else max(Fraction(0), -first_time)
    result = JoinResult(shift=shift)
    if shift > 0:
        result.warnings.append(_SHIFTED.format(float(shift)))
    return shift, result


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
            tracks = OutputTracks(out, format, result)
            if source is not None:
                container = stack.enter_context(open_input(source))
                tracks.add_source(container, source, first, audio, None)
            else:
                tracks.add_video(first, None)
            tracks.video.time_base = time_base
            packet = next(p for p in first.demux() if p.size)
            packet.stream, packet.time_base = tracks.video, time_base
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
