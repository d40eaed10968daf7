"""Timestamps: kept where they rise, repaired where not; decode times for B-frames."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from upframe.media.timestamps import TimestampRepair, decode_times, nominal_step

rising = st.lists(st.integers(-(10**9), 10**12), unique=True).map(sorted)


@given(rising, st.integers(1, 5000))
def test_rising_timestamps_pass_unchanged(pts, step):
    repair = TimestampRepair(step)
    assert [repair.push(value) for value in pts] == pts
    assert (repair.missing, repair.moved) == (0, 0)


@given(st.lists(st.none() | st.integers(-1000, 1000)), st.integers(1, 50))
def test_whatever_comes_the_result_rises(pts, step):
    repair = TimestampRepair(step)
    out = [repair.push(value) for value in pts]
    assert all(a < b for a, b in itertools.pairwise(out))
    assert repair.missing == pts.count(None)


def test_missing_timestamps_follow_at_the_nominal_rate():
    repair = TimestampRepair(40)
    assert [repair.push(v) for v in (None, None, 90, None, 90)] == [0, 40, 90, 130, 131]


def test_nominal_step():
    assert nominal_step(Fraction(25), Fraction(1, 1000)) == 40
    assert nominal_step(Fraction(1000), Fraction(1, 25)) == 1


@st.composite
def reordered(draw):
    """A coded order as encoders make it: groups whose last frame is coded first."""
    pts = draw(rising.filter(len))
    ranks: list[int] = []
    while len(ranks) < len(pts):
        base = len(ranks)
        size = min(draw(st.integers(1, 5)), len(pts) - base)
        ranks += [base + size - 1, *range(base, base + size - 1)]
    return ranks, pts


@given(reordered())
def test_decode_times_rise_and_never_pass_presentation(case):
    ranks, pts = case
    dts = decode_times(ranks, pts)
    assert len(dts) == len(ranks)
    assert all(a < b for a, b in itertools.pairwise(dts))
    assert all(d <= pts[rank] for d, rank in zip(dts, ranks, strict=True))


@given(rising)
def test_without_reordering_decode_times_are_presentation_times(pts):
    assert decode_times(list(range(len(pts))), pts) == pts
