"""How long a run takes: the arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upframe.planning.chunks import chunks_of
from upframe.planning.estimate import (
    Cost,
    network_seconds,
    other_seconds,
    passes_per_frame,
)

seconds = st.floats(1e-4, 10)


def test_an_example_by_hand():
    # two cores: the network takes both for 100 ms; 40 ms of CPU time come on top
    cost = Cost(network=0.1, other=0.04, cores=2, threads=2)
    assert cost.seconds_per_frame() == pytest.approx(0.12)
    assert cost.seconds_per_frame(passes=1.5) == pytest.approx(0.17)
    # with one thread the other core does the rest meanwhile
    assert Cost(0.1, 0.04, 2, 1).seconds_per_frame() == pytest.approx(0.1)
    # unless the rest takes longer
    assert Cost(0.1, 0.4, 2, 1).seconds_per_frame() == pytest.approx(0.25)


@given(seconds, seconds, st.integers(1, 64), st.integers(1, 64), st.floats(1, 4))
def test_no_stage_is_faster_than_its_work(network, other, cores, threads, passes):
    found = Cost(network, other, cores, threads).seconds_per_frame(passes)
    assert found >= network * passes
    assert found * cores >= other
    assert found <= network * passes + other


@given(
    st.integers(1, 400),
    st.integers(1, 60),
    st.integers(0, 12),
    st.none() | st.integers(0, 15),
)
def test_passes_are_those_of_the_chunks_of_a_video_without_cuts(
    frames, length, context, lookahead
):
    fed = 0
    for chunk in chunks_of((), frames, length, context):
        stop = chunk.context_stop
        if lookahead is not None:
            stop = min(stop, chunk.stop + lookahead)
        fed += stop - chunk.context_start
    found = passes_per_frame(frames, length, context, lookahead)
    # chunks near the ends of a video have less context than they want
    assert found >= fed / frames - 1e-9
    if context <= length and (frames % length == 0 or frames % length >= context):
        assert found == pytest.approx(fed / frames)


def test_context_costs_more_in_short_chunks():
    shares = [passes_per_frame(1000, length, 8, 1) for length in (8, 48, 240, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(2.116)
    assert shares[-1] == 1
    assert passes_per_frame(None, 9, 8, 1) == 2
    assert passes_per_frame(0, 9, 8, 1) == 1


def test_work_grows_with_pixels():
    assert network_seconds(2_000_000, 90, 45) == pytest.approx(4)
    small, large = other_seconds(100, 1600, None), other_seconds(200, 3200, None)
    assert large == pytest.approx(2 * small)
    assert other_seconds(100, 1600, 1600) > small
