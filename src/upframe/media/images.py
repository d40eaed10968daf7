"""Images, and folders and patterns of them, read and written like videos."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.codec import CodecContext
from av.video.frame import VideoFrame

from upframe.errors import InputError, UsageError
from upframe.media.colour import (
    Colour,
    FromRGB,
    Pixels,
    ToRGB,
    bit_depth,
    has_alpha,
    is_rgb,
    resolve,
)
from upframe.media.complete import check_unchanged, stamp_of
from upframe.media.container import friendly_errors, open_input
from upframe.media.encoder import output_error
from upframe.media.formats import IMAGE_OUTPUTS, IMAGE_SUFFIXES
from upframe.media.frames import Frame, SourceInfo
from upframe.media.position import Position
from upframe.media.probe import MediaInfo, VideoInfo
from upframe.media.side_data import display_matrix
from upframe.media.stills import swaps_sides, upright


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``img2`` before ``img10``."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def is_image_collection(path: Path) -> bool:
    """Whether a path names a folder, or a pattern such as ``img_%04d.png``."""
    return path.is_dir() or (_is_pattern(path.name) and not path.exists())


def _is_pattern(name: str) -> bool:
    return re.search(r"%0?\d*d", name) is not None or any(c in name for c in "*?")


def list_images(path: Path) -> list[Path]:
    """Images of a folder or pattern in natural order; a file is its own list.

    Raises:
        InputError: there are none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    elif any(c in path.name for c in "*?"):
        found = list(path.parent.glob(path.name))
    else:
        before, after = re.split(r"%0?\d*d", path.name, maxsplit=1)
        shape = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        folder = path.parent
        names = folder.iterdir() if folder.is_dir() else []
        found = [p for p in names if shape.fullmatch(p.name)]
    found = [p for p in found if p.is_file() and not p.name.startswith(".")]
    if not found:
        raise InputError(
            f"{path} holds no images.",
            "Images end in " + " ".join(sorted(IMAGE_SUFFIXES)) + ".",
        )
    return sorted(found, key=lambda p: natural_key(p.name))


def _decode(path: Path) -> tuple[VideoFrame, tuple[int, ...] | None]:
    """The image as it is coded, and the display matrix that turns it upright."""
    with open_input(path) as container, friendly_errors("decode", str(path)):
        frame = next(container.decode(video=0), None)
        if frame is None:
            raise InputError(f"{path} holds no image.", "Remove it or fetch it again.")
        return frame, display_matrix(frame)


def _colour(frame: VideoFrame) -> Colour:
    pix_fmt = frame.format.name
    tags = Colour(
        int(frame.colorspace),
        int(frame.color_primaries),
        int(frame.color_trc),
        2 if pix_fmt.startswith("yuvj") else int(frame.color_range),
    )
    return resolve(tags, frame.width, frame.height, rgb=is_rgb(pix_fmt))


class ImageSource:
    """Images as frames, one per time unit, each turned upright.

    Args:
        path: one image, a folder or a pattern.
        rate: frames per second to give them.
        start: seconds after the first image at which to begin.
        duration: seconds to take; all when None.

    Raises:
        InputError: there are no images, or the first cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: Fraction,
        start: float = 0.0,
        duration: float | None = None,
    ) -> None:
        paths = list_images(path)
        first = round(start * rate)
        last = len(paths) if duration is None else first + round(duration * rate)
        self._paths = paths[first:last]
        if not self._paths:
            raise InputError(
                f"{path} holds {len(paths)} images, none of them in the part "
                "that was asked for.",
                "Check --start and --duration.",
            )
        self._range = range(len(self._paths))
        self.seek_refused = ""
        self.warnings: list[str] = []
        frame, matrix = _decode(self._paths[0])
        pix_fmt = frame.format.name
        width, height = frame.width, frame.height
        if swaps_sides(matrix):
            width, height = height, width
        self.info = SourceInfo(
            name=str(path),
            width=width,
            height=height,
            depth=bit_depth(pix_fmt),
            alpha=has_alpha(pix_fmt),
            sar=Fraction(1),
            rate=rate,
            time_base=1 / rate,
            frames=len(self._paths),
            colour=_colour(frame),
            pix_fmt=pix_fmt,
            codec=self._paths[0].suffix.lstrip(".").lower(),
            still=True,
        )
        self._stamps = [stamp_of(item) for item in self._paths]

    def begin_at(self, position: Position | None, stop: int | None = None) -> None:
        """Let the next iteration begin behind a position and end before a frame."""
        self._range = range(position.frame if position else 0, len(self._paths))[
            : None if stop is None else stop - (position.frame if position else 0)
        ]

    def close(self) -> None:
        """Nothing stays open."""

    def fingerprint(self) -> str:
        """What distinguishes these images: names, sizes and modification times."""
        digest = hashlib.sha256()
        for path, (size, changed) in zip(self._paths, self._stamps, strict=True):
            digest.update(f"{path.name} {size} {changed}\n".encode())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        """Decode all images.

        Raises:
            InputError: one cannot be decoded, has another size than the first, or has
                changed since the source was opened.
        """
        info = self.info
        converters: dict[tuple[Colour, int, int], ToRGB] = {}
        for index in self._range:
            path = self._paths[index]
            frame, matrix = _decode(path)
            check_unchanged(path, self._stamps[index])
            key = (_colour(frame), frame.width, frame.height)
            if key not in converters:
                converters[key] = ToRGB(*key, alpha=info.alpha, deep=info.depth > 8)
            pixels = upright(converters[key](frame), matrix)
            height, width = pixels.shape[:2]
            if (width, height) != (info.width, info.height):
                raise InputError(
                    f"{path} is {width}x{height}; the first image "
                    f"is {info.width}x{info.height}.",
                    "Images of one video have one size: sort them into folders.",
                )
            position = Position(index + 1, index + 1, 0, index, index)
            yield Frame(pixels, index, 1, path.stem, position)


def probe_images(path: Path) -> MediaInfo:
    """What a folder or pattern of images holds, described like a video.

    Raises:
        InputError: there are no images, or the first cannot be decoded.
    """
    info = ImageSource(path, rate=Fraction(25)).info
    video = VideoInfo(
        index=0,
        codec=info.codec,
        width=info.width,
        height=info.height,
        pix_fmt=info.pix_fmt,
        depth=info.depth,
        alpha=info.alpha,
        sar=info.sar,
        rate=info.rate,
        time_base=info.time_base,
        frames=info.frames,
        duration=float(info.frames / info.rate),
        colour=info.colour,
        field_order=1,
    )
    return MediaInfo(str(path), "images", video.duration, video, (), 0)


class ImageEncoder:
    """Writes frames as images into a folder of its own.

    Args:
        folder: made if it is missing; emptied of an earlier try.
        names: file names without suffix are given per frame; ``pattern`` is used
            where a frame has none, with the frame number.
        suffix: ``.png``, ``.jpg``, ...
        deep: write 16 bits a sample where the format can.
        alpha: write alpha where the format can.
    """

    def __init__(self, folder: Path, suffix: str, *, deep: bool, alpha: bool) -> None:
        self._folder, self._suffix = folder, suffix
        self.frames = 0
        codec, pix_fmt = image_format(suffix, deep=deep, alpha=alpha)
        self._codec = codec
        full = 2
        self._pix_fmt = pix_fmt
        self._convert = FromRGB(pix_fmt, Colour(5, 1, 13, full))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
        except OSError as exc:
            raise output_error(exc, folder) from exc

    def write(self, pixels: Pixels, name: str) -> None:
        """Write one image as ``name`` plus suffix."""
        frame = self._convert(pixels)
        frame.pts = 0
        context: Any = CodecContext.create(self._codec, "w")
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = self._pix_fmt
        context.time_base = Fraction(1, 25)
        context.thread_count = 1
        context.color_range = 2
        if self._codec == "mjpeg":
            context.qmin = context.qmax = 2
        path = self._folder / (name + self._suffix)
        try:
            data = b"".join(
                bytes(p) for p in [*context.encode(frame), *context.encode(None)]
            )
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except (av.error.FFmpegError, OSError) as exc:
            raise output_error(exc, path) from exc
        self.frames += 1

    def close(self) -> None:
        """All images are on disk already."""

    def abort(self) -> None:
        """Remove what was written."""
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)
        self._folder.rmdir()


def image_format(suffix: str, *, deep: bool, alpha: bool) -> tuple[str, str]:
    """FFmpeg encoder and pixel format for images of a suffix.

    Raises:
        UsageError: the suffix is not one that can be written.
    """
    if suffix not in IMAGE_OUTPUTS:
        raise UsageError(
            f"Images cannot be written as {suffix}.",
            "Use one of " + " ".join(sorted(IMAGE_OUTPUTS)) + ".",
        )
    if suffix in (".jpg", ".jpeg"):
        return "mjpeg", "yuvj444p"
    if suffix == ".bmp":
        return "bmp", "bgra" if alpha else "bgr24"
    if suffix == ".ppm":
        return "ppm", "rgb48be" if deep else "rgb24"
    codec = "png" if suffix == ".png" else "tiff"
    deep_format = ("rgba64be", "rgb48be") if codec == "png" else ("rgba64le", "rgb48le")
    if deep:
        return codec, deep_format[0] if alpha else deep_format[1]
    return codec, "rgba" if alpha else "rgb24"


def move_single(folder: Path, destination: Path) -> None:
    """Rename the one image of a folder into its final place."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        next(folder.iterdir()).replace(destination)
    except OSError as exc:
        raise output_error(exc, destination) from exc


def collect(folders: Sequence[Path], destination: Path, work: Path) -> int:
    """Move the images of finished chunks into their final folder.

    A new folder appears under its name at once, complete; into an existing folder
    the images are moved one by one.

    Returns:
        The number of images moved.
    """
    try:
        files = [p for folder in folders for p in sorted(folder.iterdir())]
        if destination.exists():
            for path in files:
                path.replace(destination / path.name)
            return len(files)
        result = work / "result"
        result.mkdir(exist_ok=True)
        for path in files:
            path.replace(result / path.name)
        total = sum(1 for _ in result.iterdir())
        destination.parent.mkdir(parents=True, exist_ok=True)
        result.replace(destination)
        return total
    except OSError as exc:
        raise output_error(exc, destination) from exc
