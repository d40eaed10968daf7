"""Tasks: a chunk of a run as a small JSON object that any process can do.

A survey decodes the input once, without running the model, and makes them: chunk
boundaries depend on scene cuts.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from upframe.engine.driver import SceneChunker
from upframe.engine.options import Options
from upframe.engine.prepare import Job
from upframe.media.frames import Frame
from upframe.media.position import Position, checksum
from upframe.planning.chunks import Begin, Chunk, End, Event, Step

_FRACTIONS = ("start", "duration", "rate")


@dataclass(frozen=True)
class RunSpec:
    """What all chunks of a run share."""

    source: str
    """Absolute path of the input."""
    output: str
    """Absolute path of the output; the store lies beside it."""
    options: dict[str, Any]
    """All options of the run, as JSON-able values."""
    settings: dict[str, Any]
    """Chunk length and tile size, as the store has them."""
    fingerprint: dict[str, Any]
    """Of input, model and options; a process that finds another one refuses."""


@dataclass(frozen=True)
class ChunkTask:
    """One chunk to do."""

    run: RunSpec
    chunk: Chunk
    continues: bool
    """Whether it continues the scene of the chunk before."""
    position: Position | None
    """Before the first frame that is fed; None for the start of the video."""
    pts: tuple[int, ...]
    """Timestamps of the core frames."""
    check: int
    """`checksum` of the first core frame."""
    resume: dict[str, Any] | None = None
    """A `ResumePoint` behind it, for its record."""
    state: str = ""
    """SHA-256 of the carried state of the chunk before; empty where none is needed."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ChunkTask:
        """What `to_json` gave."""
        values = json.loads(text)
        at = values["position"]
        return cls(
            run=RunSpec(**values["run"]),
            chunk=Chunk(**values["chunk"]),
            continues=values["continues"],
            position=Position(**at) if at else None,
            pts=tuple(values["pts"]),
            check=values["check"],
            resume=values["resume"],
            state=values["state"],
        )


def options_to_json(options: Options) -> dict[str, Any]:
    """Options as JSON-able values."""
    values = asdict(options)
    for name in _FRACTIONS:
        if values[name] is not None:
            values[name] = str(values[name])
    return values


def options_from_json(values: dict[str, Any]) -> Options:
    """What `options_to_json` gave."""
    known = {field.name for field in fields(Options)}
    given = {name: value for name, value in values.items() if name in known}
    for name in _FRACTIONS:
        if given[name] is not None:
            given[name] = Fraction(given[name])
    if given["size"] is not None:
        given["size"] = tuple(given["size"])
    return Options(**given)


def run_spec(job: Job, threads: int) -> RunSpec:
    """What all chunks of a job share.

    Args:
        job: the run.
        threads: for the model in each process.
    """
    assert job.path is not None
    assert job.output.path is not None
    options = replace(job.options, threads=threads, memory=None, jobs=1, fresh=False)
    return RunSpec(
        source=str(job.path.absolute()),
        output=str(job.output.path.absolute()),
        options=options_to_json(options),
        settings=job.settings,
        fingerprint=json.loads(json.dumps(job.fingerprint)),
    )


def survey_tasks(
    job: Job, chunker: SceneChunker, spec: RunSpec, done: Container[int]
) -> Iterator[ChunkTask | int]:
    """Decode the input of a job once and make its tasks.

    Yields:
        A task for each chunk that is not done, and the number of frames of each chunk
        that is.
    """
    maker = _TaskMaker(chunker, spec)
    for frame in job.source:
        for event in chunker.push(frame):
            yield from _due(maker.take(event), done)
    for event in chunker.finish():
        yield from _due(maker.take(event), done)


def _due(task: ChunkTask | None, done: Container[int]) -> Iterator[ChunkTask | int]:
    if task is not None:
        yield task.chunk.length if task.chunk.index in done else task


class _TaskMaker:
    """Turns the events of a chunker into tasks."""

    def __init__(self, chunker: SceneChunker, spec: RunSpec) -> None:
        self._chunker, self._spec = chunker, spec
        self._begin: Begin | None = None
        self._position: Position | None = None
        self._pts: list[int] = []
        self._check = self._stop = 0

    def take(self, event: Event[Frame]) -> ChunkTask | None:
        """Take the next event; returns the task that it completes."""
        if isinstance(event, Begin):
            self._begin, self._pts = event, []
            self._position = self._chunker.history.position(event.first)
        elif isinstance(event, Step):
            if event.core and not self._pts:
                self._check = checksum(event.frame.pixels)
            if event.core:
                self._pts.append(event.frame.pts)
            self._stop = event.number + 1
        else:
            return self._end(event)
        return None

    def _end(self, event: End) -> ChunkTask:
        begin = self._begin
        assert begin is not None
        point = self._chunker.resume_points.pop(event.chunk, None)
        return ChunkTask(
            run=self._spec,
            chunk=Chunk(event.chunk, event.start, event.stop, begin.first, self._stop),
            continues=begin.continues,
            position=self._position,
            pts=tuple(self._pts),
            check=self._check,
            resume=None if point is None else point.to_dict(),
        )


def store_folder(output: Path) -> Path:
    """The work folder of an output."""
    whole = output.absolute()
    return whole.parent / f".{whole.name}.upframe"
