"""Opening files safely: no network, no playlists that read other files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import av
import av.error
import av.logging
from av.container import InputContainer
from av.container.core import Flags

from upframe.errors import InputError, UpframeError
from upframe.media.stills import image_demuxer

# Demuxers that open other files or devices, or make up frames: a text file named
# clip.mp4 that begins with "ffconcat" would otherwise play whatever it names.
_REFUSED = {
    "alsa", "avisynth", "concat", "concatf", "dash", "dvdvideo", "fbdev", "ftp",
    "hls", "imf", "image2", "jack", "kmsgrab", "lavfi", "libgme", "oss", "pulse",
    "rtp", "rtsp", "sap", "sdp", "tedcaptions", "v4l2", "video4linux2,v4l2",
    "vapoursynth", "webm_dash_manifest", "x11grab", "xcbgrab",
}  # fmt: skip


_GENERATE_PTS: Any = Flags.gen_pts
# PyAV 19 reads tags that are not UTF-8 without being asked.
_LENIENT: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)


@functools.cache
def _format_whitelist() -> str:
    return ",".join(sorted(name for name in av.formats_available - _REFUSED))


def open_input(
    source: Path | IO[bytes], *, format: str | None = None, **options: str
) -> InputContainer:
    """Open a media file or stream for reading.

    Args:
        source: a file, or a binary stream that need not seek.
        format: FFmpeg's name of the format; detected when not given.
        options: options of the demuxer.

    Raises:
        InputError: the file is missing, a folder, empty, or no media file.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    target: Any = source
    if isinstance(source, Path):
        _check_readable(source)
        format = format or image_demuxer(source)
        try:
            str(source).encode("utf-8")
            target = f"file:{source.absolute()}"
        except UnicodeEncodeError:
            target = source.open("rb")
    with friendly_errors("read", name):
        container: InputContainer = av.open(
            target,
            "r",
            format=format,
            options={
                "fflags": "+genpts",
                "format_whitelist": _format_whitelist(),
                "protocol_whitelist": "file,pipe",
                **options,
            },
            **_LENIENT,
        )
        if container.format.name == "avi" and any(
            stream.codec_context and stream.codec_context.has_b_frames
            for stream in container.streams.video
        ):
            # AVI knows decode times only, and what FFmpeg guesses from them is wrong
            # for H.264 with B-frames. Decoded frames take the decode times in order.
            container.flags &= ~_GENERATE_PTS.value
        return container


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(
                f"{path} is a folder without images that can be read.",
                "Name a video file, or a folder of numbered images.",
            )
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the name and the path.")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(
                    f"{path} is empty (0 bytes).", "Copy or download it again."
                )
    except OSError as exc:
        raise InputError(
            f"{path} cannot be read: {exc.strerror}.", "Check its permissions."
        ) from exc


def changed_during_run(path: Path) -> InputError:
    """The error for an input that is not the one the run began with."""
    return InputError(
        f"{path} changed during the run.",
        "Wait until it is complete, then run again with --fresh.",
    )


@contextlib.contextmanager
def friendly_errors(verb: str, name: str) -> Iterator[None]:
    """Turn FFmpeg's errors into one sentence with advice."""
    try:
        yield
    except UpframeError:
        raise
    except (av.error.FFmpegError, ValueError) as exc:
        if isinstance(exc, av.error.FileNotFoundError):
            raise InputError(f"{name} does not exist.", "Check the path.") from exc
        reason = str(getattr(exc, "strerror", "") or exc)
        not_understood = verb == "read" and isinstance(exc, av.error.ArgumentError)
        if not_understood or isinstance(exc, av.error.InvalidDataError):
            reason = "it is no media file, or it is damaged or cut off"
        raise InputError(
            f"Cannot {verb} {name}: {reason}.",
            "Check that it plays elsewhere; a half-finished download or recording "
            "must be fetched or repaired first.",
        ) from exc


av.logging.set_level(None)
