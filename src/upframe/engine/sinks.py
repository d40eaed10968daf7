"""Where finished frames go, chunk by chunk: segments, folders of images, a pipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from upframe.engine.convert import Result
from upframe.engine.driver import Done
from upframe.engine.fingerprints import sha256_of
from upframe.engine.resume import ResumePoint
from upframe.engine.store import ChunkRecord
from upframe.errors import OutputError
from upframe.media.encoder import Encoder, output_error
from upframe.media.formats import VideoFormat
from upframe.media.images import ImageEncoder
from upframe.media.pipes import PipeEncoder
from upframe.runtimes.base import State
from upframe.runtimes.choice import Fallback


class Sink(Protocol):
    """Takes the frames of one chunk after another."""

    def begin(self, chunk: int, start: int) -> None:
        """A chunk starts."""
        ...

    def write(self, result: Result) -> None:
        """The next frame of the chunk."""
        ...

    def end(self, done: Done) -> None:
        """The chunk is complete; durable when this returns, where that is possible."""
        ...

    def abort(self) -> None:
        """The run stops inside a chunk: what it wrote of it is deleted."""
        ...


class Records(Protocol):
    """Where finished chunks are recorded: a `Store` or a `ChunkStore`."""

    folder: Path

    def record(self, done: ChunkRecord, state: State | None = None) -> None:
        """Record a finished chunk; on disk when this returns."""
        ...


class _StoreSink:
    """Chunks that are recorded one by one, so that a killed run can be resumed."""

    suffix = ""

    def __init__(
        self,
        store: Records,
        resume_points: Mapping[int, ResumePoint] | None = None,
        fallbacks: Callable[[], Sequence[Fallback]] = tuple,
    ) -> None:
        self._store, self._fallbacks = store, fallbacks
        self._resume_points = {} if resume_points is None else resume_points
        self._encoder: Encoder | ImageEncoder | None = None
        self._path = Path()
        self._pts: list[int] = []
        self._last_duration = 0

    def begin(self, chunk: int, start: int) -> None:
        """Open a work file for the chunk."""
        del start
        self._path = self._store.folder / f"chunk-{chunk:06d}{self.suffix}"
        self._pts = []
        self._encoder = self._open(self._now())

    def _open(self, path: Path) -> Encoder | ImageEncoder:
        raise NotImplementedError

    def _now(self) -> Path:
        """Where the chunk grows; each process has its own place."""
        return self._path.with_name(f"now-{os.getpid()}-{self._path.name}")

    def _note(self, result: Result) -> None:
        self._pts.append(result.frame.pts)
        self._last_duration = result.frame.duration

    def end(self, done: Done) -> None:
        """Close, rename and record the chunk."""
        assert self._encoder is not None
        self._encoder.close()
        self._encoder = None
        if len(self._pts) != done.stop - done.start:
            raise OutputError(
                f"Chunk {done.chunk} holds {len(self._pts)} frames instead of "
                f"{done.stop - done.start}.",
                "This is a fault of upframe; please report it with the command.",
            )
        temporary = self._now()
        point = self._resume_points.get(done.chunk)
        try:
            if self._path.is_dir():
                shutil.rmtree(self._path)
            temporary.replace(self._path)
            is_file = self._path.is_file()
            record = ChunkRecord(
                chunk=done.chunk,
                start=done.start,
                stop=done.stop,
                file=self._path.name,
                bytes=self._path.stat().st_size if is_file else 0,
                sha256=sha256_of(self._path) if is_file else "",
                pts=tuple(self._pts),
                last_duration=self._last_duration,
                resume=None if point is None else point.to_dict(),
                fallbacks=tuple(one.to_json() for one in self._fallbacks()),
            )
            self._store.record(record, done.state)
        except OSError as exc:
            raise output_error(exc, self._path) from exc

    def abort(self) -> None:
        """Remove the work file of the open chunk."""
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder = None


class VideoSink(_StoreSink):
    """Segments of coded video.

    Args:
        store: takes the segments.
        format: how they are encoded.
        fallbacks: what the runtime has fallen back to so far; recorded.
    """

    suffix = ".mkv"

    def __init__(
        self,
        store: Records,
        format: VideoFormat,
        resume_points: Mapping[int, ResumePoint] | None = None,
        fallbacks: Callable[[], Sequence[Fallback]] = tuple,
    ) -> None:
        super().__init__(store, resume_points, fallbacks)
        self._format = format

    def _open(self, path: Path) -> Encoder:
        return Encoder(path, self._format)

    def write(self, result: Result) -> None:
        """Encode the next frame."""
        assert isinstance(self._encoder, Encoder)
        self._encoder.write(result.pixels)
        self._note(result)


class ImageSink(_StoreSink):
    """Images in folders, one for each chunk.

    Args:
        store: takes the folders.
        suffix: of the images, with its dot.
        pattern: of their names; empty keeps names or numbers them.
        deep: whether they have 16 bits.
        alpha: whether they have an alpha plane.
        fallbacks: what the runtime has fallen back to so far; recorded.
    """

    def __init__(
        self,
        store: Records,
        suffix: str,
        *,
        pattern: str,
        deep: bool,
        alpha: bool,
        resume_points: Mapping[int, ResumePoint] | None = None,
        fallbacks: Callable[[], Sequence[Fallback]] = tuple,
    ) -> None:
        super().__init__(store, resume_points, fallbacks)
        self._image_suffix, self._pattern = suffix, pattern
        self._deep, self._alpha = deep, alpha
        self._next = 0

    def begin(self, chunk: int, start: int) -> None:
        """Open a work folder for the chunk."""
        super().begin(chunk, start)
        self._next = start

    def _open(self, path: Path) -> ImageEncoder:
        return ImageEncoder(
            path, self._image_suffix, deep=self._deep, alpha=self._alpha
        )

    def write(self, result: Result) -> None:
        """Write the next image."""
        assert isinstance(self._encoder, ImageEncoder)
        name = self._pattern % self._next if self._pattern else result.frame.name
        self._encoder.write(result.pixels, name or f"{self._next:08d}")
        self._note(result)
        self._next += 1


@dataclass
class PipeSink:
    """Straight into a pipe; there is nothing to resume or verify."""

    encoder: PipeEncoder

    def begin(self, chunk: int, start: int) -> None:
        """Nothing to do."""

    def write(self, result: Result) -> None:
        """Write the frame at once."""
        self.encoder.write(result.pixels)

    def end(self, done: Done) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""
