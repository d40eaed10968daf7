"""Where finished pictures go: segments of a video, a folder of pictures, a pipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from upframe.engine.journal import Done, Journal, sha256_of
from upframe.engine.stepper import End, Result
from upframe.errors import OutputError, ResumeError
from upframe.media.encoder import Encoder, output_error, to_disk
from upframe.media.formats import VideoFormat
from upframe.media.frames import SourceInfo
from upframe.media.images import ImageEncoder, collect, move_single
from upframe.media.mux import Window, join
from upframe.media.packets import Segment
from upframe.media.pipes import PipeEncoder
from upframe.media.verify import verify


class Sink(Protocol):
    """Takes the pictures of one chunk after another."""

    def begin(self, chunk: int, start: int) -> None:
        """A chunk starts."""
        ...

    def write(self, result: Result) -> None:
        """The next picture of the chunk."""
        ...

    def end(self, end: End) -> None:
        """The chunk is complete; durable when this returns, where that is possible."""
        ...

    def abort(self) -> None:
        """The run stops inside a chunk: what it wrote of it is thrown away."""
        ...

    def finish(self) -> list[str]:
        """All chunks are there: make the output appear; returns warnings."""
        ...


class _JournalledSink:
    """Chunks that are recorded one by one, so that a killed run goes on."""

    suffix = ""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._encoder: Encoder | ImageEncoder | None = None
        self._path = Path()
        self._pts: list[int] = []
        self._last_duration = 0

    def begin(self, chunk: int, start: int) -> None:
        """Open a work file for the chunk."""
        del start
        self._path = self._journal.folder / f"chunk-{chunk:06d}{self.suffix}"
        self._pts = []
        self._encoder = self._open(self._path.with_name("now-" + self._path.name))

    def _open(self, path: Path) -> Encoder | ImageEncoder:
        raise NotImplementedError

    def _note(self, result: Result) -> None:
        self._pts.append(result.frame.pts)
        self._last_duration = result.frame.duration

    def end(self, end: End) -> None:
        """Close, name and record the chunk."""
        assert self._encoder is not None
        self._encoder.close()
        self._encoder = None
        if len(self._pts) != end.stop - end.start:
            raise OutputError(
                f"Chunk {end.chunk} holds {len(self._pts)} pictures instead of "
                f"{end.stop - end.start}.",
                "This is a fault of upframe; please report it with the command.",
            )
        temporary = self._path.with_name("now-" + self._path.name)
        try:
            if self._path.is_dir():
                shutil.rmtree(self._path)
            temporary.replace(self._path)
            is_file = self._path.is_file()
            done = Done(
                chunk=end.chunk,
                start=end.start,
                stop=end.stop,
                file=self._path.name,
                bytes=self._path.stat().st_size if is_file else 0,
                sha256=sha256_of(self._path) if is_file else "",
                pts=tuple(self._pts),
                last_duration=self._last_duration,
            )
            self._journal.record(done, end.state)
        except OSError as exc:
            raise output_error(exc, self._path) from exc

    def abort(self) -> None:
        """Remove the work file of the open chunk."""
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder = None

    def _chunks(self) -> list[Done]:
        done = [self._journal.done[k] for k in sorted(self._journal.done)]
        at = 0
        for number, chunk in enumerate(done):
            if chunk.chunk != number or chunk.start != at:
                raise ResumeError(
                    f"The unfinished run in {self._journal.folder} does not fit the "
                    "input any more.",
                    "Run again with --fresh.",
                )
            at = chunk.stop
        return done


class VideoSink(_JournalledSink):
    """Segments of coded video, joined at the end beside the source's other streams."""

    suffix = ".mkv"

    def __init__(
        self,
        journal: Journal,
        output: Path,
        format: VideoFormat,
        info: SourceInfo,
        *,
        source: Path | None,
        window: Callable[[int, int], Window | None],
        provenance: str,
    ) -> None:
        super().__init__(journal)
        self._output, self._format, self._info = output, format, info
        self._source, self._window = source, window
        self._provenance = provenance

    def _open(self, path: Path) -> Encoder:
        return Encoder(path, self._format)

    def write(self, result: Result) -> None:
        """Encode the next picture."""
        assert isinstance(self._encoder, Encoder)
        self._encoder.write(result.pixels)
        self._note(result)

    def finish(self) -> list[str]:
        """Join, check, name."""
        chunks = self._chunks()
        folder = self._journal.folder
        segments = [Segment(folder / c.file, c.pts) for c in chunks]
        pts = [value for chunk in chunks for value in chunk.pts]
        last = chunks[-1].last_duration or _step(pts)
        window = self._window(pts[0], pts[-1] + last)
        base = self._info.time_base
        whole = folder / ("joined" + self._output.suffix)
        result = join(
            segments,
            whole,
            self._format,
            time_base=base,
            last_duration=last,
            display_matrix=self._info.display_matrix,
            source=self._source,
            window=window,
            provenance=self._provenance,
        )
        times = [value * base + result.shift for value in pts]
        size = (self._format.width, self._format.height)
        warnings = result.warnings + verify(whole, times, result, size)
        try:
            to_disk(whole)
            whole.replace(self._output)
        except OSError as exc:
            raise output_error(exc, self._output) from exc
        return warnings


def _step(pts: list[int]) -> int:
    return pts[-1] - pts[-2] if len(pts) > 1 else 1


class ImageSink(_JournalledSink):
    """Pictures in folders, one for each chunk, brought together at the end."""

    def __init__(
        self,
        journal: Journal,
        output: Path,
        suffix: str,
        *,
        pattern: str,
        deep: bool,
        alpha: bool,
    ) -> None:
        super().__init__(journal)
        self._output, self._image_suffix, self._pattern = output, suffix, pattern
        self._single = output.suffix.lower() == suffix and not pattern
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
        """Write the next picture."""
        assert isinstance(self._encoder, ImageEncoder)
        name = self._pattern % self._next if self._pattern else result.frame.name
        self._encoder.write(result.pixels, name or f"{self._next:08d}")
        self._note(result)
        self._next += 1

    def finish(self) -> list[str]:
        """Bring the pictures together under the final name."""
        folder = self._journal.folder
        folders = [folder / chunk.file for chunk in self._chunks()]
        if self._single:
            move_single(folders[0], self._output)
        else:
            collect(folders, self._output, folder)
        return []


@dataclass
class PipeSink:
    """Straight into a pipe; there is nothing to resume or verify."""

    encoder: PipeEncoder

    def begin(self, chunk: int, start: int) -> None:
        """Nothing to do."""

    def write(self, result: Result) -> None:
        """Write the picture at once."""
        self.encoder.write(result.pixels)

    def end(self, end: End) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""

    def finish(self) -> list[str]:
        """Flush."""
        self.encoder.close()
        return []
