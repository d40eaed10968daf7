"""Three stages in threads: order, resuming, errors, progress."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from upframe.engine.convert import Converter, frame_to_float
from upframe.engine.driver import Driver, SceneChunker
from upframe.engine.pipeline import Earlier, Pipeline
from upframe.errors import OutputError
from upframe.media.frames import Frame
from upframe.runtimes.sessions import SessionBase


class Same(SessionBase):
    def push(self, frame):
        return [frame]

    def flush(self):
        return []


class Frames:
    """A source of equal frames."""

    def __init__(self, count):
        self._count = count

    def __iter__(self):
        for number in range(self._count):
            yield Frame(np.zeros((4, 4, 3), np.uint8), number, 1)


class Remember:
    """A sink that remembers what it got, and takes its time."""

    def __init__(self, fail_at=None):
        self.chunks, self.pts, self.aborted = [], [], False
        self._fail_at = fail_at

    def begin(self, chunk, start):
        self.chunks.append(chunk)

    def write(self, result):
        time.sleep(0.002)
        if result.frame.pts == self._fail_at:
            raise OutputError("No space.")
        self.pts.append(result.frame.pts)

    def end(self, done):
        pass

    def abort(self):
        self.aborted = True


def pipeline(count, sink, **options):
    return Pipeline(
        Frames(count),
        SceneChunker(5, 0),
        Driver(Same, frame_to_float),
        Converter((4, 4), deep=False, alpha=False),
        sink,
        queue=2,
        total=count,
        **options,
    )


def test_progress_comes_from_the_calling_thread_and_ends_at_the_end():
    seen, threads = [], set()

    def progress(at):
        threads.add(threading.get_ident())
        seen.append(at)

    counts = pipeline(23, Remember(), progress=progress).run()
    assert threads == {threading.get_ident()}
    assert (counts.frames_in, counts.frames_out) == (23, 23)
    done = [at.done for at in seen]
    assert done == sorted(set(done))
    assert done[-1] == 23
    assert seen[-1].seconds_left == 0


def test_chunks_of_an_earlier_run_are_passed_over_and_their_time_is_not_counted():
    seen, sink = [], Remember()
    earlier = Earlier({0, 1, 2})
    counts = pipeline(23, sink, progress=seen.append, earlier=earlier).run()
    assert sink.chunks == [3, 4]
    assert sink.pts == list(range(15, 23))
    assert counts.frames_out == 23
    assert [at.done for at in seen][:3] == [5, 10, 15]
    assert all(at.fps == 0 and at.seconds_left is None for at in seen[:3])
    # 8 frames in at least 16 ms, however fast 15 were passed over
    assert 0 < seen[-1].fps <= 500


def test_the_first_error_of_any_stage_is_raised_and_the_open_chunk_dropped():
    sink = Remember(fail_at=7)
    with pytest.raises(OutputError, match="No space"):
        pipeline(23, sink).run()
    assert sink.aborted
    assert sink.pts == list(range(7))


def test_an_error_of_the_callback_stops_the_run():
    def stop(at):
        raise KeyError("mine")

    sink = Remember()
    with pytest.raises(KeyError, match="mine"):
        pipeline(23, sink, progress=stop).run()
    assert sink.aborted
