"""Frames to a pipe, as YUV4MPEG2 or as bare planes."""

from __future__ import annotations

from typing import IO

from upframe.errors import OutputError, UsageError
from upframe.media.colour import FULL, FromRGB, Pixels
from upframe.media.encoder import output_error
from upframe.media.formats import VideoFormat

_Y4M = {
    "yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "gray": "mono",
    "yuv420p10le": "420p10 XYSCSS=420P10", "yuv422p10le": "422p10 XYSCSS=422P10",
    "yuv444p10le": "444p10 XYSCSS=444P10",
}  # fmt: skip


class PipeEncoder:
    """Writes frames to a binary stream.

    Formats of the YCbCr family are written as YUV4MPEG2 with header; others, such
    as ``rgb24``, as bare frames.

    Args:
        stream: where to, for example ``sys.stdout.buffer``.
        format: pixel format, size, rate and colour are taken from it.
    """

    def __init__(self, stream: IO[bytes], format: VideoFormat) -> None:
        self._stream = stream
        self._convert = FromRGB(format.pix_fmt, format.colour)
        self._y4m = format.pix_fmt in _Y4M
        self.frames = 0
        if not self._y4m and format.pix_fmt.startswith("yuv"):
            raise UsageError(
                f"YUV4MPEG2 has no {format.pix_fmt}.", "Use --pix-fmt yuv420p."
            )
        if self._y4m:
            rate, sar = format.rate, format.sar
            span = "FULL" if format.colour.range == FULL else "LIMITED"
            self._put(
                f"YUV4MPEG2 W{format.width} H{format.height} F{rate.numerator}:"
                f"{rate.denominator} Ip A{sar.numerator}:{sar.denominator} "
                f"C{_Y4M[format.pix_fmt]} XCOLORRANGE={span}\n".encode()
            )

    def write(self, pixels: Pixels) -> None:
        """Write the next frame, (H, W, 3 or 4)."""
        if self._y4m:
            self._put(b"FRAME\n")
        self._put(self._convert(pixels).to_ndarray().tobytes())
        self.frames += 1

    def close(self) -> None:
        """Flush; the stream itself stays open."""
        try:
            self._stream.flush()
        except OSError as exc:
            raise output_error(exc, "standard output") from exc

    def abort(self) -> None:
        """What was written cannot be taken back."""

    def _put(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except BrokenPipeError as exc:
            raise OutputError("The reader of the pipe has gone.") from exc
        except OSError as exc:
            raise output_error(exc, "standard output") from exc
