"""Frames through chunks and a network with memory: each comes out once, in order."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upframe.engine.stepper import Begin, End, Feeder, Step, Stepper, as_float, quantise
from upframe.media.frames import Frame


class Late:
    """A session that keeps frames back and only answers in the flush."""

    def __init__(self, log):
        self._kept = []
        self._log = log

    def push(self, frame):
        self._kept.append(frame)
        return [self._kept.pop(0)] if len(self._kept) > 3 else []

    def flush(self):
        self._log.append(len(self._kept))
        return self._kept


def frame(number, scene):
    pixels = np.full((8, 8, 3), 250 if scene % 2 else 5, np.uint8)
    pixels[0, 0] = number % 251
    return Frame(pixels, number * 2, 2)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 20),
    st.integers(0, 4),
    st.lists(st.integers(1, 69), max_size=2),
)
def test_each_frame_once_and_in_order(count, length, context, cuts):
    feeder = Feeder(length, context)
    flushes: list[int] = []
    stepper = Stepper(lambda: Late(flushes), (8, 8), deep=False, alpha=False)
    results, spans = [], []

    def run(work):
        if isinstance(work, Begin):
            stepper.begin(work, {})
        elif isinstance(work, Step):
            results.extend(stepper.step(work))
        elif isinstance(work, End):
            results.extend(stepper.end())
            spans.append((work.start, work.stop))

    for number in range(count):
        scene = sum(cut <= number for cut in cuts)
        for work in feeder.push(frame(number, scene)):
            run(work)
    for work in feeder.finish():
        run(work)
    assert [r.frame.pts for r in results] == [2 * n for n in range(count)]
    assert [int(r.pixels[0, 0, 0]) for r in results] == [n % 251 for n in range(count)]
    assert spans[0][0] == 0
    assert spans[-1][1] == count
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all(stop - start <= length for start, stop in spans)
    for cut in feeder.cuts:
        assert any(start == cut for start, _ in spans)


def test_output_is_resized_to_what_was_asked_and_alpha_goes_along():
    class Same:
        def push(self, frame):
            return [frame]

        def flush(self):
            return []

    stepper = Stepper(Same, (5, 7), deep=True, alpha=True)
    stepper.begin(Begin(0, 0, 0, False), {})
    pixels = np.full((8, 8, 4), 128, np.uint8)
    (result,) = stepper.step(Step(Frame(pixels, 0, 1), core=True))
    assert result.pixels.shape == (5, 7, 4)
    assert result.pixels.dtype == np.uint16
    assert np.abs(result.pixels.astype(int) - round(128 / 255 * 65535)).max() <= 1


def test_eight_and_sixteen_bits_pass_through_floats_unchanged():
    for dtype, deep in ((np.uint8, False), (np.uint16, True)):
        top = np.iinfo(dtype).max
        values = np.linspace(0, top, 3 * 64 * 64).astype(dtype).reshape(64, 64, 3)
        assert np.array_equal(quantise(as_float(values), deep=deep), values)


def test_sessions_are_told_where_they_begin_and_what_was_left():
    told = []

    class Counting:
        """Leaves the number of frames that it and those before it have seen."""

        def begin(self, first, state):
            told.append((first, dict(state)))
            self._seen = state.get("seen", 0)

        def push(self, frame):
            self._seen += 1
            return [frame]

        def flush(self):
            return []

        def state(self):
            return {"seen": self._seen}

    feeder = Feeder(12, 1)
    stepper = Stepper(Counting, (8, 8), deep=False, alpha=False)
    work = [w for n in range(30) for w in feeder.push(frame(n, int(n >= 20)))]
    left = {}
    for item in (*work, *feeder.finish()):
        if isinstance(item, Begin):
            stepper.begin(item, left)
        elif isinstance(item, Step):
            list(stepper.step(item))
        else:
            list(stepper.end())
            left = stepper.state()
    assert feeder.cuts == [20]
    # 0 to 11 and one of context; 12 to 19 and one of context; 20 to 29
    assert told == [(0, {}), (11, {"seen": 13}), (20, {})]
    assert left == {"seen": 10}
