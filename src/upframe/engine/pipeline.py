"""Decode, run and encode, overlapping through bounded queues.

The decoder and the encoder have a thread each; the network runs in the calling
thread, so that Ctrl-C arrives there, and so do all progress callbacks. Whichever of the
three fails first stops the other two, and its error is the one that is raised.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from upframe.engine.channel import Cancelled, Channel
from upframe.engine.convert import Result
from upframe.engine.driver import Done, Driver, Output, SceneChunker
from upframe.engine.sinks import Sink
from upframe.media.frames import Frame, Source
from upframe.planning.chunks import Begin, End, Event
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

    @classmethod
    def after(cls, passed: int, written: int, total: int, seconds: float) -> Progress:
        """Where a run is, and how long the rest takes at its speed.

        Args:
            passed: frames that earlier runs wrote.
            written: frames that this run wrote.
            total: frames in all; 0 unknown.
            seconds: that this run took.
        """
        done = passed + written
        fps = written / seconds if seconds > 0 else 0.0
        left = max(0, total - done) / fps if total and fps > 0 else None
        return cls(done, total, fps, left)


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


@dataclass(frozen=True)
class Earlier:
    """What earlier runs finished."""

    done: Container[int] = ()
    """Chunks that are passed over."""
    state: Callable[[int], State] = lambda _: {}
    """Carried state of a finished chunk."""
    decoded: int = 0
    """Frames before the one with which the source begins."""
    frames: int = 0
    """Frames of the chunks before the one with which the chunker begins."""


@dataclass(frozen=True)
class _Passed:
    """Frames of a chunk that an earlier run finished."""

    frames: int


def lower_thread_priority() -> None:
    """Let the network go first: this thread, and those it starts, get less priority.

    The network's threads wait for each other many times a frame; an encoder thread
    that takes a core in between makes all of them wait. Behind them there is time
    enough, and the queues are bounded. Only Linux has priorities for single threads.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


class Pipeline:
    """Carries out one run.

    Args:
        source: where frames come from.
        chunker: forms chunks.
        driver: runs the network.
        finish: turns an output into what the sink takes; runs in the calling thread.
        sink: where finished frames go.
        queue: frames that may wait before and behind the network.
        total: frames expected; 0 unknown.
        progress: called in the calling thread as frames are written.
        earlier: what earlier runs finished.
    """

    def __init__(
        self,
        source: Source,
        chunker: SceneChunker,
        driver: Driver[Frame],
        finish: Callable[[Output[Frame]], Result],
        sink: Sink,
        *,
        queue: int,
        total: int = 0,
        progress: ProgressCallback | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        self._source, self._chunker, self._driver = source, chunker, driver
        self._finish, self._sink = finish, sink
        self._earlier = earlier or Earlier()
        self._total, self._progress = total, progress
        self._events: Channel[Event[Frame] | _Passed] = Channel(queue)
        self._results: Channel[Begin | Result | Done] = Channel(queue)
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._frames_in, self._passed = self._earlier.decoded, self._earlier.frames
        self._written = self._reported = 0
        self._first_work: float | None = None
        """When the first frame of this run reached the network."""

    def run(self) -> Counts:
        """Run to the end.

        Raises:
            UpframeError: the first error of any stage.
            KeyboardInterrupt: Ctrl-C; all threads have ended and the open chunk is
                deleted.
        """
        started = time.monotonic()
        threads = [
            threading.Thread(target=self._background, args=(stage,), daemon=True)
            for stage in (self._decode, self._encode)
        ]
        for thread in threads:
            thread.start()
        try:
            self._guard(self._infer)
            for thread in threads:
                while thread.is_alive():
                    thread.join(timeout=0.2)
                    self._report()
            if self._error is None:
                self._report()
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
            time.monotonic() - started,
            tuple(self._chunker.cuts),
        )

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            if self._error is None:
                self._error = exc
        self._events.cancel()
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

    def _background(self, stage: Callable[[], None]) -> None:
        lower_thread_priority()
        self._guard(stage)

    def _decode(self) -> None:
        skip = False

        def pass_on(event: Event[Frame]) -> None:
            nonlocal skip
            if isinstance(event, Begin):
                skip = event.chunk in self._earlier.done
            if not skip:
                self._events.put(event)
            elif isinstance(event, End):
                self._events.put(_Passed(event.stop - event.start))

        for frame in self._source:
            self._frames_in += 1
            for event in self._chunker.push(frame):
                pass_on(event)
        for event in self._chunker.finish():
            pass_on(event)
        self._events.close()

    def _infer(self) -> None:
        for item in self._driver.run(self._due()):
            self._results.put(self._finish(item) if isinstance(item, Output) else item)
            self._report()
        self._results.close()

    def _due(self) -> Iterator[Event[Frame]]:
        """The events of chunks that are not finished."""
        for event in self._events:
            if isinstance(event, _Passed):
                self._passed += event.frames
                self._report()
                continue
            if isinstance(event, Begin) and event.chunk - 1 in self._earlier.done:
                self._driver.carried = self._earlier.state(event.chunk - 1)
            if self._first_work is None:
                self._first_work = time.monotonic()
            yield event

    def _encode(self) -> None:
        for item in self._results:
            if isinstance(item, Begin):
                self._sink.begin(item.chunk, item.start)
            elif isinstance(item, Done):
                self._sink.end(item)
            else:
                self._sink.write(item)
                self._written += 1

    def _report(self) -> None:
        """Call back if there is news; only the calling thread comes here."""
        done = self._passed + self._written
        if self._progress is None or done == self._reported:
            return
        self._reported = done
        now = time.monotonic()
        seconds = now - (now if self._first_work is None else self._first_work)
        self._progress(
            Progress.after(self._passed, self._written, self._total, seconds)
        )
