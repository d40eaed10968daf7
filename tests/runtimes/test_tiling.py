import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_networks import RADIUS, card

from upframe.planning.tiles import plan_tiles
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.onnx import OnnxRuntime
from upframe.runtimes.sessions import ImageSession, SessionBase
from upframe.runtimes.tiling import TiledSession, sessions


@pytest.fixture(scope="module")
def runtime(network):
    return OnnxRuntime(card(), network, threads=1)


@settings(max_examples=15)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(18, 48), st.integers(18, 48)),
    st.integers(8, 16),
    st.integers(0, 99),
)
def test_tiled_equals_whole_where_the_margin_holds_the_receptive_field(
    runtime, size, tile, overlap, seed
):
    grid = plan_tiles(*size, *tile, overlap)
    assert grid.margin >= RADIUS
    frame = np.random.default_rng(seed).random((size[1], size[0], 3), np.float32)
    (whole,) = runtime.session().push(frame)
    (tiled,) = TiledSession(runtime, grid).push(frame)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)


def test_too_small_an_overlap_shows_so_that_the_margin_is_what_helps(runtime, frame):
    grid = plan_tiles(56, 40, 24, 24, overlap=1)
    (whole,) = runtime.session().push(frame)
    (tiled,) = TiledSession(runtime, grid).push(frame)
    assert np.abs(tiled - whole).max() > 1e-3


class Delayed(SessionBase):
    """A session that keeps ``delay`` frames back, as temporal networks do."""

    def __init__(self, runtime, delay):
        self._session, self._delay, self._kept = runtime.session(), delay, []

    def push(self, frame):
        self._kept.append(frame)
        if len(self._kept) <= self._delay:
            return []
        return self._session.push(self._kept.pop(0))

    def flush(self):
        return [out for frame in self._kept for out in self._session.push(frame)]


class DelayedRuntime:
    name, device = "delayed", "cpu"

    def __init__(self, runtime, delay):
        self.card, self._runtime, self._delay = runtime.card, runtime, delay

    def session(self):
        return Delayed(self._runtime, self._delay)


@pytest.mark.parametrize("delay", [0, 2, 9])
def test_late_outputs_keep_their_number_and_order(runtime, delay):
    frames = np.random.default_rng(0).random((5, 40, 56, 3), np.float32)
    session = TiledSession(
        DelayedRuntime(runtime, delay), plan_tiles(56, 40, 24, 24, 8)
    )
    outputs = [out for frame in frames for out in session.push(frame)]
    assert len(outputs) == max(0, 5 - delay)
    outputs += session.flush()
    plain = runtime.session()
    expected = [out for frame in frames for out in plain.push(frame)]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-6)


def test_a_frame_of_another_size_is_refused(runtime, frame):
    session = TiledSession(runtime, plan_tiles(64, 40, 24, 24, 8))
    with pytest.raises(ValueError, match="not made for"):
        session.push(frame)


class Counting(ImageSession):
    """Carries the number of frames that went through it."""

    def __init__(self, runtime):
        super().__init__(lambda frame, number: runtime.session().push(frame)[0])
        self.seen = 0

    def begin(self, first, state):
        super().begin(first, state)
        self.seen = int(state.get("seen", 0))

    def push(self, frame):
        self.seen += 1
        return super().push(frame)

    def state(self):
        return {"seen": np.array(self.seen)}


class CountingRuntime(LoadedModel):
    def __init__(self, runtime):
        super().__init__(runtime.card)
        self._runtime = runtime

    def session(self):
        return Counting(self._runtime)


def test_every_tile_carries_its_own_state_and_gets_the_number_of_the_frame(
    runtime, frame
):
    counting, grid = CountingRuntime(runtime), plan_tiles(56, 40, 24, 24, 8)
    first = sessions(counting, grid)()
    first.begin(5, {})
    first.push(frame)
    state = first.state()
    assert {int(seen) for seen in state.values()} == {1}
    assert len(state) == len(list(grid))
    second = sessions(counting, grid)()
    second.begin(6, state)
    second.push(frame)
    assert {int(seen) for seen in second.state().values()} == {2}
    assert {inner.number for inner in second._sessions} == {7}
