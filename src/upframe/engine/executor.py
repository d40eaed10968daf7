"""Decode, run and encode, overlapping through bounded queues.

The decoder and the encoder have a thread each; the network runs in the calling
thread, so that Ctrl-C arrives there. Whichever of the three fails first stops the
other two, and its error is the one that is raised.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from upframe.engine.channel import Cancelled, Channel
from upframe.engine.sinks import Sink
from upframe.engine.stepper import Begin, End, Feeder, Result, Step, Stepper, Work
from upframe.media.frames import Source
from upframe.runtimes.base import State


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    done: int
    """Frames written, those of an earlier run included."""
    total: int
    """Frames in all, an estimate; 0 unknown."""
    fps: float
    """Frames per second of this run."""
    seconds_left: float | None
    """Estimate; None unknown."""


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class Counts:
    """What a run did."""

    frames_in: int
    frames_out: int
    seconds: float
    """Wall-clock time of decoding, running and encoding."""
    cuts: tuple[int, ...]
    """Frames that start a new scene."""


def give_way() -> None:
    """Let the network go first: this thread, and those it starts, get less priority.

    The network's threads wait for each other many times a frame; an encoder thread
    that takes a core in between makes all of them wait. Behind them there is time
    enough, and the queues are bounded. Only Linux has priorities for single threads.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Executor:
    """Carries out one run.

    Args:
        source: where frames come from.
        feeder: forms chunks.
        stepper: runs the network.
        sink: where pictures go.
        done: chunks that are finished already and are passed over.
        queue: frames that may wait before and behind the network.
        total: frames expected; 0 unknown.
        progress: called after each frame written.
        states: what a finished chunk left to the next one; needed where chunks are
            passed over.
    """

    def __init__(
        self,
        source: Source,
        feeder: Feeder,
        stepper: Stepper,
        sink: Sink,
        *,
        done: Container[int],
        queue: int,
        total: int,
        progress: ProgressCallback | None,
        states: Callable[[int], State] | None = None,
    ) -> None:
        self._states = states
        self._left: State = {}
        self._source, self._feeder = source, feeder
        self._stepper, self._sink = stepper, sink
        self._done, self._total, self._progress = done, total, progress
        self._work: Channel[Work] = Channel(queue)
        self._results: Channel[Begin | Result | End] = Channel(queue)
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._frames_in = self._passed = self._written = 0
        self._started = 0.0

    def run(self) -> Counts:
        """Run to the end.

        Raises:
            UpframeError: the first error of any stage.
            KeyboardInterrupt: Ctrl-C; all threads have ended and the open chunk is
                thrown away.
        """
        self._started = time.monotonic()
        threads = [
            threading.Thread(target=self._aside, args=(stage,), daemon=True)
            for stage in (self._decode, self._encode)
        ]
        for thread in threads:
            thread.start()
        try:
            self._guard(self._infer)
            for thread in threads:
                while thread.is_alive():
                    thread.join(timeout=0.2)
        except BaseException as exc:
            self._fail(exc)
            for thread in threads:
                thread.join()
            self._sink.abort()
            raise
        if self._error is not None:
            self._sink.abort()
            raise self._error
        return Counts(
            self._frames_in,
            self._passed + self._written,
            time.monotonic() - self._started,
            tuple(self._feeder.cuts),
        )

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = exc
        self._work.cancel()
        self._results.cancel()

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Cancelled:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._fail(exc)

    def _aside(self, stage: Callable[[], None]) -> None:
        give_way()
        self._guard(stage)

    def _decode(self) -> None:
        skip = False

        def pass_on(work: Work) -> None:
            nonlocal skip
            if isinstance(work, Begin):
                skip = work.chunk in self._done
            if not skip:
                self._work.put(work)
            elif isinstance(work, End):
                self._passed += work.stop - work.start
                self._report()

        for frame in self._source:
            self._frames_in += 1
            for work in self._feeder.push(frame):
                pass_on(work)
        for work in self._feeder.finish():
            pass_on(work)
        self._work.close()

    def _infer(self) -> None:
        for work in self._work:
            if isinstance(work, Begin):
                self._results.put(work)
                if self._states is not None and work.chunk - 1 in self._done:
                    self._left = self._states(work.chunk - 1)
                self._stepper.begin(work, self._left)
            elif isinstance(work, Step):
                for result in self._stepper.step(work):
                    self._results.put(result)
            else:
                for result in self._stepper.end():
                    self._results.put(result)
                self._left = self._stepper.state()
                self._results.put(replace(work, state=self._left))
        self._results.close()

    def _encode(self) -> None:
        for item in self._results:
            if isinstance(item, Begin):
                self._sink.begin(item.chunk, item.start)
            elif isinstance(item, End):
                self._sink.end(item)
            else:
                self._sink.write(item)
                self._written += 1
                self._report()

    def _report(self) -> None:
        if self._progress is None:
            return
        seconds = time.monotonic() - self._started
        fps = self._written / seconds if seconds > 0 else 0.0
        done = self._passed + self._written
        left = None
        if self._total and fps > 0:
            left = max(0, self._total - done) / fps
        self._progress(Progress(done, self._total, fps, left))
