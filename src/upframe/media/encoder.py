"""Encoding one chunk of frames into a segment file."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame

from upframe.errors import OutputError, UsageError
from upframe.media.colour import FromRGB, Pixels
from upframe.media.formats import VideoFormat

# SVT-AV1 prints its settings on stderr unless set to print errors alone.
os.environ.setdefault("SVT_LOG", "1")


_MOST_REORDERED = 64
_SAMPLE = 128
"""Rows and columns of a frame to try a container with."""


def output_error(exc: BaseException, path: Path | str) -> OutputError:
    """An OutputError with advice for an I/O or FFmpeg error while writing."""
    number = getattr(exc, "errno", None)
    text = str(getattr(exc, "strerror", "") or exc)
    if number == 28:
        return OutputError(
            f"No space is left for {path}.",
            "Free some space and run the same command again: it goes on from there.",
        )
    return OutputError(
        f"Writing {path} failed: {text}.",
        "Check the encoder options, free space and permissions.",
    )


def to_disk(path: Path) -> None:
    """Force a file's content to disk, so that it survives a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Encoder:
    """One encoder run: frames in, coded packets into a Matroska work file.

    Packets carry the number of their frame as timestamp; the true timestamps are
    put back when segments are joined, so that no container rounds them twice.

    Args:
        path: the work file, replaced if it exists.
        format: how to code.
    """

    def __init__(self, path: Path, format: VideoFormat) -> None:
        self._path = path
        self._convert = FromRGB(format.pix_fmt, format.colour)
        self.frames = self._packets = 0
        self._base = 1 / format.rate
        try:
            self._container: OutputContainer = av.open(
                f"file:{path.absolute()}",
                "w",
                format="matroska",
                options={"avoid_negative_ts": "disabled"},
            )
        except (av.error.FFmpegError, OSError) as exc:
            raise output_error(exc, path) from exc
        try:
            self._stream = add_video_stream(self._container, format)
        except UsageError:
            self.abort()
            raise

    def write(self, pixels: Pixels) -> None:
        """Encode the next frame, (H, W, 3 or 4), uint8 or uint16."""
        frame = self._convert(pixels)
        frame.pts = self.frames
        frame.time_base = self._base
        self._mux(frame)
        self.frames += 1

    def close(self) -> None:
        """Flush, close and force to disk; the file is complete after this."""
        self._mux(None)
        try:
            self._container.close()
            to_disk(self._path)
        except (av.error.FFmpegError, OSError) as exc:
            raise output_error(exc, self._path) from exc

    def abort(self) -> None:
        """Close without a result; the file is removed."""
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        self._path.unlink(missing_ok=True)

    def _mux(self, frame: VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                # x265 gives impossible decode times for a chunk of one or two frames;
                # any that rise will do here, the true ones are made when joining.
                packet.dts = self._packets - _MOST_REORDERED
                self._packets += 1
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            raise output_error(exc, self._path) from exc


@functools.cache
def _has_avx512() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    return "avx512bw" in flags


def reproducible(encoder: str, options: Mapping[str, str]) -> dict[str, str]:
    """An encoder's options, with what makes equal input give equal output.

    x264's AVX-512 code for its macroblock tree gives another stream at almost every
    run (FFmpeg 8 wheels; 5 to 8 different streams in 8 runs, 1 with ``asm=avx2``, at
    the same speed), and a resumed run must equal an uninterrupted one.
    """
    settled = dict(options)
    if encoder == "libx264" and _has_avx512():
        given = settled.get("x264-params", "")
        if "asm=" not in given:
            settled["x264-params"] = f"{given}:asm=avx2".lstrip(":")
    return settled


def add_video_stream(container: OutputContainer, format: VideoFormat) -> Any:
    """Add an encoding video stream with all tags of the format set.

    Raises:
        UsageError: the encoder refuses the options.
    """
    stream: Any = container.add_stream(
        format.encoder,
        rate=format.rate,
        options=reproducible(format.encoder, format.options),
        width=format.width,
        height=format.height,
        time_base=1 / Fraction(format.rate),
    )
    stream.pix_fmt = format.pix_fmt
    context = stream.codec_context
    context.sample_aspect_ratio = format.sar
    context.colorspace = format.colour.matrix
    context.color_range = format.colour.range
    context.color_primaries = format.colour.primaries
    context.color_trc = format.colour.transfer
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as exc:
        wanted = " ".join(f"{k}={v}" for k, v in format.options.items())
        raise UsageError(
            f"{format.encoder} does not accept {format.width}x{format.height} "
            f"{format.pix_fmt} with {wanted}.",
            "Check -c:v, --crf, --pix-fmt and -e.",
        ) from exc
    # What is left over was asked for and not understood.
    unknown = sorted(set(context.options) & set(format.options))
    if unknown:
        raise UsageError(
            f"{format.encoder} has no option {', '.join(unknown)}.",
            "Check -e and --crf against the encoder's documentation.",
        )
    return stream


def encode_sample(format: VideoFormat) -> bytes:
    """One black frame in a Matroska file in memory, to try a container with.

    The frame is small; the encoder is opened at the full size, too, so that it can
    refuse its options.

    Raises:
        UsageError: the encoder refuses the options.
        OutputError: it fails.
    """
    file = io.BytesIO()
    small = replace(format, width=_SAMPLE, height=_SAMPLE)
    pixels: Pixels = np.zeros((_SAMPLE, _SAMPLE, 4 if format.alpha else 3), np.uint8)
    try:
        with av.open(io.BytesIO(), "w", format="matroska") as container:
            add_video_stream(container, format)
        with av.open(file, "w", format="matroska") as container:
            stream = add_video_stream(container, small)
            frame = FromRGB(format.pix_fmt, format.colour)(pixels)
            frame.pts, frame.time_base = 0, 1 / format.rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                packet.dts = packet.pts
                container.mux(packet)
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise output_error(exc, f"a frame with {format.encoder}") from exc
    return file.getvalue()
