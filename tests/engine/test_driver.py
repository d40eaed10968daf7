"""Frames through chunks and a model with memory: each comes out once, in order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upframe.engine.convert import Converter, as_float, frame_to_float, quantise
from upframe.engine.driver import Done, Driver, Output, SceneChunker
from upframe.errors import RuntimeFailure, UsageError
from upframe.media.frames import Frame
from upframe.planning.chunks import Begin, Chunk, End, Step, events_of
from upframe.runtimes.sessions import SessionBase


class Late(SessionBase):
    """Keeps frames back and answers most of them in the flush."""

    def __init__(self):
        self._kept = []

    def push(self, frame):
        self._kept.append(frame)
        return [self._kept.pop(0)] if len(self._kept) > 3 else []

    def flush(self):
        return self._kept


class Counting(SessionBase):
    """Carries the number of frames that it and those before it have seen."""

    def __init__(self, log):
        self._log = log

    def begin(self, first, state):
        self._log.append((first, dict(state)))
        self._seen = state.get("seen", 0)

    def push(self, frame):
        self._seen += 1
        return [frame]

    def flush(self):
        return []

    def state(self):
        return {"seen": self._seen}


class Counted(SessionBase):
    """Gives back another number of frames than it was given."""

    def __init__(self, pushes):
        self._pushes = pushes

    def push(self, frame):
        return [frame] * self._pushes.pop(0)

    def flush(self):
        return []


def frame(number, scene):
    pixels = np.full((8, 8, 3), 250 if scene % 2 else 5, np.uint8)
    pixels[0, 0] = number % 251
    return Frame(pixels, number * 2, 2)


def run_all(chunker, driver, frames):
    items = [item for f in frames for item in driver.run(chunker.push(f))]
    return items + list(driver.run(chunker.finish()))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 20),
    st.integers(0, 4),
    st.lists(st.integers(1, 69), max_size=2),
)
def test_each_frame_once_and_in_order(count, length, context, cuts):
    chunker = SceneChunker(length, context)
    scenes = [sum(cut <= number for cut in cuts) for number in range(count)]
    items = run_all(
        chunker, Driver(Late, frame_to_float), map(frame, range(count), scenes)
    )
    convert = Converter((8, 8), deep=False, alpha=False)
    outputs = [item for item in items if isinstance(item, Output)]
    results = [convert(output) for output in outputs]
    assert [o.number for o in outputs] == list(range(count))
    assert [r.frame.pts for r in results] == [2 * n for n in range(count)]
    assert [int(r.pixels[0, 0, 0]) for r in results] == [n % 251 for n in range(count)]
    spans = [(item.start, item.stop) for item in items if isinstance(item, Done)]
    assert spans[0][0] == 0
    assert spans[-1][1] == count
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all(stop - start <= length for start, stop in spans)
    for cut in chunker.cuts:
        assert any(start == cut for start, _ in spans)


def test_begin_comes_before_the_outputs_of_a_chunk_and_done_after_them():
    driver = Driver(Late, frame_to_float)
    items = run_all(SceneChunker(2, 0), driver, [frame(n, 0) for n in range(4)])
    assert [type(item) for item in items] == [Begin, Output, Output, Done] * 2


def test_output_is_resized_to_what_was_asked_and_alpha_goes_along():
    convert = Converter((5, 7), deep=True, alpha=True)
    pixels = np.full((8, 8, 4), 128, np.uint8)
    source = Frame(pixels, 0, 1)
    result = convert(Output(0, source, as_float(pixels)))
    assert result.pixels.shape == (5, 7, 4)
    assert result.pixels.dtype == np.uint16
    assert np.abs(result.pixels.astype(int) - round(128 / 255 * 65535)).max() <= 1


def test_eight_and_sixteen_bits_pass_through_floats_unchanged():
    for dtype, deep in ((np.uint8, False), (np.uint16, True)):
        top = np.iinfo(dtype).max
        values = np.linspace(0, top, 3 * 64 * 64).astype(dtype).reshape(64, 64, 3)
        assert np.array_equal(quantise(as_float(values), deep=deep), values)


def test_sessions_learn_where_they_begin_and_get_the_carried_state():
    log = []
    chunker = SceneChunker(12, 1)
    driver = Driver(lambda: Counting(log), frame_to_float)
    frames = [frame(n, int(n >= 20)) for n in range(30)]
    items = run_all(chunker, driver, frames)
    assert chunker.cuts == [20]
    # 0 to 11 and one of context; 12 to 19 and one of context; 20 to 29
    assert log == [(0, {}), (11, {"seen": 13}), (20, {})]
    states = [item.state for item in items if isinstance(item, Done)]
    assert states == [{"seen": 13}, {"seen": 22}, {"seen": 10}]
    assert driver.carried == {"seen": 10}


def test_a_chunk_alone_continues_from_the_state_it_is_given():
    log = []
    driver = Driver(lambda: Counting(log), frame_to_float)
    driver.carried = {"seen": 13}
    frames = [frame(n, 0) for n in range(11, 20)]
    events = events_of(Chunk(1, 12, 20, 11, 20), frames, continues=True)
    *_, done = driver.run(events)
    assert log == [(11, {"seen": 13})]
    assert done == Done(1, 12, 20, {"seen": 22})


@pytest.mark.parametrize(("lookahead", "pushed"), [(0, 7), (1, 8), (None, 10)])
def test_context_after_the_core_is_fed_as_far_as_the_model_looks(lookahead, pushed):
    log = []
    driver = Driver(lambda: Counting(log), frame_to_float, lookahead=lookahead)
    events = events_of(
        Chunk(1, 5, 10, 3, 13), [frame(n, 0) for n in range(3, 13)], continues=False
    )
    items = list(driver.run(events))
    assert [i.number for i in items if isinstance(i, Output)] == [5, 6, 7, 8, 9]
    assert driver.carried == {"seen": pushed}


@pytest.mark.parametrize(("pushes", "made"), [([1, 0], 1), ([1, 2], 3)])
def test_a_model_that_miscounts_is_a_failure(pushes, made):
    driver = Driver(lambda: Counted(list(pushes)), frame_to_float, source="a")
    events = events_of(Chunk(0, 0, 2, 0, 2), [frame(0, 0)] * 2, continues=False)
    with pytest.raises(RuntimeFailure, match=f"made {made} of 2 frames of a"):
        list(driver.run(events))


def test_masks_are_refused_before_any_work_where_the_session_has_none():
    driver = Driver(lambda: Counted([]), frame_to_float, masks=True)
    with pytest.raises(UsageError, match="no masks"):
        list(
            driver.run(
                [Begin(0, 0, 0, False), Step(0, frame(0, 0), True), End(0, 0, 1)]
            )
        )


def test_masks_come_with_their_outputs():
    class Masked(SessionBase):
        computed = ()

        def push(self, frame):
            self.computed = [np.full((2, 1, 1), frame[0, 0, 0])]
            return [frame]

        def flush(self):
            self.computed = []
            return []

    driver = Driver(Masked, frame_to_float, masks=True)
    items = run_all(SceneChunker(9, 0), driver, [frame(n, 0) for n in range(3)])
    outputs = [item for item in items if isinstance(item, Output)]
    for output in outputs:
        assert output.masks[0, 0, 0] == pytest.approx(output.number / 255)
