"""One chunk of a run, in any process: `run_chunk`.

As a program (``python -m upframe.engine.worker``) it does the tasks that it reads from
standard input, a line each, and reports on standard output. It ends at once when its
standard input ends, that is, when the process that started it stops or is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from upframe.engine.backends.local import make_converter, make_driver, make_sink
from upframe.engine.convert import Converter
from upframe.engine.driver import Done, Driver, Output
from upframe.engine.prepare import Job, prepare
from upframe.engine.resume import ResumePoint
from upframe.engine.store import ChunkRecord, ChunkStore
from upframe.engine.tasks import ChunkTask, RunSpec, options_from_json, store_folder
from upframe.errors import InputError, Interrupted, ResumeError, UpframeError
from upframe.media.frames import Frame
from upframe.media.position import checksum
from upframe.planning.chunks import Begin, events_of
from upframe.planning.plan import Kept
from upframe.runtimes.base import Runtime


@dataclass
class OpenRun:
    """An opened input and a loaded model, for one chunk after another of a run."""

    spec: RunSpec
    job: Job
    runtime: Runtime
    driver: Driver[Frame]
    converter: Converter

    def close(self) -> None:
        """Release the input."""
        self.job.close()


def open_run(spec: RunSpec) -> OpenRun:
    """Open what all chunks of a run share.

    Raises:
        ResumeError: input, weights or options differ from those of the run.
    """
    kept = Kept(spec.settings["chunk_length"], *spec.settings["tile"])
    options = options_from_json(spec.options)
    job = prepare(spec.source, spec.output, options, kept=kept)
    try:
        found = json.loads(json.dumps(job.fingerprint))
        if found != spec.fingerprint:
            names = [k for k in spec.fingerprint if found.get(k) != spec.fingerprint[k]]
            raise ResumeError(
                f"This process finds other values for {', '.join(names)} of "
                f"{spec.source} than the run was planned with.",
                "Leave input, weights and upframe alone while a run is working.",
            )
        runtime = job.open_runtime()
        driver = make_driver(job, runtime)
        return OpenRun(spec, job, runtime, driver, make_converter(job))
    except BaseException:
        job.close()
        raise


def run_chunk(
    task: ChunkTask,
    store: ChunkStore,
    *,
    run: OpenRun | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
) -> ChunkRecord:
    """Do one chunk: decode, run, encode, record. Done again, it changes nothing.

    Args:
        task: the chunk.
        store: where segment and record go.
        run: what the chunks of the run share; opened here when None.
        cancelled: asked after each frame.
        progress: called after each frame.

    Returns:
        Its record; segment and record are on disk.

    Raises:
        Interrupted: it was cancelled; nothing is left of it.
        UpframeError: see its tree.
    """
    finished = store.find(task.chunk.index)
    if finished is not None:
        return finished
    if run is None:
        with contextlib.closing(open_run(task.run)) as opened:
            return run_chunk(
                task, store, run=opened, cancelled=cancelled, progress=progress
            )
    try:
        _compute(task, store, run, cancelled, progress)
    except _DiffersError:
        _compute(task, store, run, cancelled, progress, sought=False)
    record = store.find(task.chunk.index)
    assert record is not None
    return record


class _DiffersError(InputError):
    """The frames are not those of the survey."""


def _compute(
    task: ChunkTask,
    store: ChunkStore,
    run: OpenRun,
    cancelled: Callable[[], bool],
    progress: Callable[[], None],
    *,
    sought: bool = True,
) -> None:
    number = task.chunk.index
    points = {}
    if task.resume is not None:
        points[number] = ResumePoint.from_dict(task.resume)
    sink = make_sink(run.job, store, points, run.runtime)
    run.driver.carried = store.state(number - 1, task.state) if task.state else {}
    frames = _frames(task, run.job, sought=sought)
    events = events_of(task.chunk, frames, continues=task.continues)
    try:
        for item in run.driver.run(events):
            if cancelled():
                raise Interrupted(
                    f"Chunk {number} was cancelled.",
                    "The same command resumes the run.",
                )
            if isinstance(item, Begin):
                sink.begin(item.chunk, item.start)
            elif isinstance(item, Output):
                sink.write(run.converter(item))
                progress()
            elif isinstance(item, Done):
                sink.end(item)
    except BaseException:
        sink.abort()
        raise


def _frames(task: ChunkTask, job: Job, *, sought: bool) -> Iterator[Frame]:
    """The frames of a task, checked against the survey."""
    chunk, source = task.chunk, job.source
    position = task.position if sought else None
    source.begin_at(position, chunk.context_stop)
    number = position.frame if position else 0
    for frame in source:
        core = chunk.start <= number < chunk.stop
        if (core and frame.pts != task.pts[number - chunk.start]) or (
            number == chunk.start and checksum(frame.pixels) != task.check
        ):
            raise _differs(task, number)
        if number >= chunk.context_start:
            yield frame
        number += 1
    if number != chunk.context_stop:
        raise _differs(task, number)


def _differs(task: ChunkTask, number: int) -> _DiffersError:
    return _DiffersError(
        f"Frame {number} of {task.run.source} is not the one that was found before.",
        "The file may have changed while it was read, or its storage is faulty: run "
        "again with --fresh.",
    )


class _Parent:
    """The process at the other ends of standard input and output."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers
        self.tasks: queue.Queue[ChunkTask] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, event: str, **values: Any) -> None:
        """Write a line."""
        try:
            self._answers.write(json.dumps({"event": event, **values}) + "\n")
            self._answers.flush()
        except OSError:
            os._exit(1)

    def _read(self) -> None:
        for line in sys.stdin:
            self.tasks.put(ChunkTask.from_json(line))
        os._exit(0)  # at once: nobody is left to wait for what is being computed


def main() -> None:
    """Do tasks from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print must not mix with the answers
    parent = _Parent(answers)
    run: OpenRun | None = None
    while True:
        task = parent.tasks.get()
        try:
            if run is None or run.spec != task.run:
                if run is not None:
                    run.close()
                run = open_run(task.run)
                parent.say(
                    "open",
                    runtime=run.runtime.name,
                    device=run.runtime.device,
                    precision=run.runtime.precision,
                )
            store = ChunkStore(store_folder(Path(task.run.output)))
            record = run_chunk(
                task, store, run=run, progress=lambda: parent.say("frame")
            )
            refused = run.job.source.seek_refused
            fallbacks = [one.to_json() for one in run.runtime.fallbacks]
            parent.say("done", chunk=record.chunk, refused=refused, fallbacks=fallbacks)
        except UpframeError as exc:
            parent.say(
                "error",
                kind=type(exc).__name__,
                message=exc.message,
                advice=exc.advice,
            )


if __name__ == "__main__":
    main()
