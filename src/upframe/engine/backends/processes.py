"""``--jobs N``: the chunks of a run in N processes on this machine.

The calling process decodes the input once to find the chunks (`tasks.survey_tasks`),
hands them to workers (`engine.worker`), and keeps the journal. Workers end when their
standard input does, so none outlives the process that started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import upframe
from upframe import errors
from upframe.engine.backends.local import report, resume
from upframe.engine.driver import SceneChunker
from upframe.engine.finish import Report, finish
from upframe.engine.pipeline import (
    Counts,
    Earlier,
    Progress,
    ProgressCallback,
    lower_thread_priority,
)
from upframe.engine.prepare import Job
from upframe.engine.store import Store
from upframe.engine.tasks import ChunkTask, RunSpec, run_spec, survey_tasks
from upframe.errors import RuntimeFailure, UpframeError, UsageError
from upframe.runtimes.choice import Fallback
from upframe.runtimes.devices import usable_cores

_ATTEMPTS = 3
"""How often a chunk is tried whose worker dies."""
_AHEAD = 4
"""Chunks for each worker that the survey may be ahead."""


def run(job: Job, jobs: int, progress: ProgressCallback | None = None) -> Report:
    """Carry out a job in several processes and close it.

    Args:
        job: from `prepare`; of a file or folder into a file or folder.
        jobs: processes.
        progress: called in this thread as frames are written.

    Raises:
        UpframeError: see its tree; the message says what to do.
        KeyboardInterrupt: Ctrl-C; finished chunks are kept for the next run.
    """
    with contextlib.closing(job):
        if job.path is None or job.output.kind == "pipe":
            raise UsageError(
                "--jobs needs files: a pipe can be read and written by one process.",
                "Leave --jobs out, or name files.",
            )
        if job.options.mask_images is not None:
            raise UsageError(
                "--mask-images is not possible with --jobs.", "Leave one of them out."
            )
        began = time.monotonic()
        with contextlib.closing(job.open_store()) as store:
            threads = max(1, (job.options.threads or usable_cores()) // jobs)
            spec = run_spec(job, threads)
            chunker, earlier = resume(job, store)
            pool = _Pool(
                store,
                jobs,
                job.source.info.frames,
                progress,
                earlier,
                # only models with noise carry a state, and not all of them: the first
                # finished chunk shows it
                carries_state=job.model.card.seeded,
            )
            counts = pool.run(_Survey(job, chunker, spec, set(store.done), jobs))
            warnings = [*finish(job, store), *pool.notes()]
            store.remove()
            return report(job, pool.model, counts, warnings, store.resumed, began)


class _Survey:
    """Makes tasks in a thread of its own, a bounded number ahead."""

    def __init__(
        self, job: Job, chunker: SceneChunker, spec: RunSpec, done: set[int], jobs: int
    ) -> None:
        self._job, self._chunker, self._spec, self._done = job, chunker, spec, done
        self._room = threading.Semaphore(_AHEAD * jobs)
        self._stopped = False
        self._thread = threading.Thread(target=self._make, daemon=True)

    def start(self, inbox: queue.Queue[_Message]) -> None:
        """Begin; everything is reported to the inbox."""
        self._inbox = inbox
        self._thread.start()

    def free(self) -> None:
        """A task is finished: another may be made."""
        self._room.release()

    def stop(self) -> None:
        """Stop, and wait for the thread."""
        self._stopped = True
        self._room.release()
        self._thread.join()

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames that start a new scene."""
        return tuple(self._chunker.cuts)

    def _make(self) -> None:
        lower_thread_priority()
        done = self._done
        try:
            for item in survey_tasks(self._job, self._chunker, self._spec, done):
                if isinstance(item, ChunkTask):
                    self._room.acquire()
                if self._stopped:
                    return
                self._inbox.put(_Message(None, "task", item))
            self._inbox.put(_Message(None, "surveyed"))
        except BaseException as exc:
            self._inbox.put(_Message(None, "failed", exc))


@dataclass(frozen=True)
class _Message:
    """What happened."""

    worker: _Worker | None
    event: str
    value: Any = None


class _Worker:
    """A process that does one task after another."""

    def __init__(self, inbox: queue.Queue[_Message]) -> None:
        package = str(Path(upframe.__file__).parents[1])
        paths = [package, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "upframe.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.task: ChunkTask | None = None
        self.frames = 0
        """Frames of the task that are done."""
        self._inbox = inbox
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def give(self, task: ChunkTask) -> None:
        """Let it do a task."""
        self.task, self.frames = task, 0
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died: the reader reports it
            self._process.stdin.write(task.to_json() + "\n")
            self._process.stdin.flush()

    def stop(self) -> int:
        """End it at once; returns its exit code."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in self._process.stdout:
                values = json.loads(line)
                self._inbox.put(_Message(self, values["event"], values))
        self._inbox.put(_Message(self, "died"))


@dataclass(frozen=True)
class ModelInfo:
    """How the workers run the model."""

    name: str = ""
    device: str = ""
    precision: str = ""
    fallbacks: tuple[Fallback, ...] = ()


class _Pool:
    """Hands tasks to workers until all chunks are in the store."""

    def __init__(
        self,
        store: Store,
        jobs: int,
        total: int,
        progress: ProgressCallback | None,
        earlier: Earlier,
        *,
        carries_state: bool,
    ) -> None:
        self._store, self._jobs, self._total = store, jobs, total
        self._progress = progress
        self._inbox: queue.Queue[_Message] = queue.Queue()
        self._workers: list[_Worker] = []
        self._waiting: deque[ChunkTask] = deque()
        self._deaths: dict[int, int] = {}
        self._surveyed = False
        self._carries_state = carries_state
        self._passed, self._written = earlier.frames, 0
        self._refused: list[str] = []
        self._began = time.monotonic()
        self.model = ModelInfo()

    def run(self, survey: _Survey) -> Counts:
        """Run to the end."""
        self._survey = survey
        survey.start(self._inbox)
        try:
            while not self._is_done():
                self._assign()
                with contextlib.suppress(queue.Empty):
                    # a time-out lets this thread see Ctrl-C on every platform
                    self._take(self._inbox.get(timeout=0.5))
        finally:
            for worker in self._workers:
                worker.stop()
            survey.stop()
            self._store.collect()
        frames = self._passed + self._written
        seconds = time.monotonic() - self._began
        return Counts(frames, frames, seconds, survey.cuts)

    def notes(self) -> list[str]:
        """What the report must say."""
        return [
            f"{self._refused.count(reason)} chunks could only be reached by decoding "
            f"the input from its start: {reason}."
            for reason in dict.fromkeys(self._refused)
        ]

    def _is_done(self) -> bool:
        busy = any(worker.task for worker in self._workers)
        return self._surveyed and not busy and not self._waiting

    def _assign(self) -> None:
        """Give tasks that can be done now to workers that do nothing."""
        idle = [worker for worker in self._workers if worker.task is None]
        for task in list(self._waiting):
            if self._is_blocked(task):
                continue
            if not idle and len(self._workers) == self._jobs:
                return
            worker = idle.pop() if idle else self._hire()
            self._waiting.remove(task)
            worker.give(self._with_state(task))

    def _is_blocked(self, task: ChunkTask) -> bool:
        before = task.chunk.index - 1
        return self._carries_state and task.continues and before not in self._store.done

    def _with_state(self, task: ChunkTask) -> ChunkTask:
        if not task.continues or not self._carries_state:
            return task
        return replace(task, state=self._store.done[task.chunk.index - 1].state)

    def _hire(self) -> _Worker:
        worker = _Worker(self._inbox)
        self._workers.append(worker)
        return worker

    def _take(self, message: _Message) -> None:
        worker, value = message.worker, message.value
        if message.event == "task":
            if isinstance(value, ChunkTask):
                self._waiting.append(value)
            else:
                self._passed += value
        elif message.event == "surveyed":
            self._surveyed = True
        elif message.event == "failed":
            raise value
        elif message.event == "open":
            self.model = replace(
                self.model,
                name=value["runtime"],
                device=value["device"],
                precision=value["precision"],
            )
        elif message.event == "error":
            raise _error(value)
        elif worker is not None and message.event == "frame":
            worker.frames += 1
            self._written += 1
            self._report()
        elif worker is not None and message.event == "done":
            record = self._store.take(value["chunk"])
            self._carries_state = self._carries_state and bool(record.state)
            if value["refused"]:
                self._refused.append(value["refused"])
            new = (Fallback.from_json(one) for one in value["fallbacks"])
            fallbacks = tuple(dict.fromkeys((*self.model.fallbacks, *new)))
            self.model = replace(self.model, fallbacks=fallbacks)
            worker.task = None
            self._survey.free()
        elif worker is not None and worker in self._workers:
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Replace a worker that died, and do its task again."""
        code = worker.stop()
        self._workers.remove(worker)
        task = worker.task
        if task is None:
            return
        self._written -= worker.frames
        deaths = self._deaths[task.chunk.index] = (
            self._deaths.get(task.chunk.index, 0) + 1
        )
        if deaths == _ATTEMPTS:
            raise RuntimeFailure(
                f"Worker processes ended {deaths} times (the last with code {code}) at "
                f"chunk {task.chunk.index}, frames {task.chunk.start} to "
                f"{task.chunk.stop - 1}.",
                "They may have run out of memory: use fewer --jobs, or set --memory. "
                "The same command resumes the run.",
            )
        self._waiting.appendleft(task)

    def _report(self) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._began
        self._progress(
            Progress.after(self._passed, self._written, self._total, seconds)
        )


def _error(value: dict[str, Any]) -> UpframeError:
    """The error that a worker reported."""
    kind = getattr(errors, value["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, UpframeError)):
        kind = UpframeError
    error: UpframeError = kind.__new__(kind)
    UpframeError.__init__(error, value["message"], value["advice"])
    return error
