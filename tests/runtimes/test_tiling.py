import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_networks import RADIUS, card

from upframe.planning.tiles import plan_tiles
from upframe.runtimes.onnx import OnnxRuntime
from upframe.runtimes.sessions import SessionBase
from upframe.runtimes.tiling import TiledSession


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
