"""Video from standard input."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

from upframe.errors import InputError
from upframe.media.source import FileSource


def open_stdin(
    size: tuple[int, int] | None, rate: Fraction, deinterlace: str
) -> tuple[FileSource, bool]:
    """Open standard input: any container, YUV4MPEG2, or raw RGB frames.

    Args:
        size: (width, height) of raw rgb24 frames, used when the data begin like no
            known container.
        rate: frames per second of raw frames.
        deinterlace: as for `FileSource`.

    Returns:
        The source, and whether it is raw video.

    Raises:
        InputError: nothing comes, or it is no video.
    """
    stream: Any = sys.stdin.buffer
    head = stream.peek(64)[:64]
    if not head:
        raise InputError("Standard input is empty.", "Pipe a video into it.")
    if head.startswith(b"YUV4MPEG2"):
        source = FileSource(stream, format="yuv4mpegpipe", deinterlace=deinterlace)
        return source, False
    if size is not None and not _looks_like_container(head):
        demuxer = {
            "video_size": f"{size[0]}x{size[1]}",
            "pixel_format": "rgb24",
            "framerate": str(rate),
        }
        raw = FileSource(stream, format="rawvideo", demuxer=demuxer, deinterlace="off")
        return raw, True
    return FileSource(stream, deinterlace=deinterlace), False


def _looks_like_container(head: bytes) -> bool:
    starts = (
        b"\x1a\x45\xdf\xa3", b"RIFF", b"GIF8", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",
        b"\x00\x00\x00\x01", b"FLV", b"OggS", b"\x89PNG", b"\xff\xd8\xff", b"DKIF",
        b"nut/",
    )  # fmt: skip
    ts = head[:1] == b"\x47" and len(head) > 3 and head[3] & 0x10
    return head.startswith(starts) or head[4:8] == b"ftyp" or bool(ts)
