"""From degradations that hold over a clip to ones that change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from upframe.degradations.drawer import walk
from upframe.degradations.progressive import ProgressiveSchedule
from upframe.degradations.ranges import RealConfig
from upframe.degradations.real import draw

SCHEDULE = ProgressiveSchedule(consistent_until=100, full_from=300)
WALK = RealConfig(temporal="walk")


def steps_of(config: Any) -> dict[str, float]:
    """Every ``*_step``, by its path."""
    found = {}
    for name, value in config:
        if name.endswith("_step"):
            found[name] = value
        elif hasattr(type(value), "model_fields"):
            found.update({f"{name}.{k}": v for k, v in steps_of(value).items()})
    return found


def largest_change(config: RealConfig, seed: int) -> float:
    """Of JPEG's quality from frame to frame, over both orders."""
    parameters = draw(config, np.random.default_rng(seed), 12, (64, 64), 4)
    jpegs = [o for o in parameters.operations if type(o).__name__ == "Jpeg"]
    return max(float(np.abs(np.diff(jpeg.quality)).max()) for jpeg in jpegs)


def test_it_begins_constant_and_ends_with_the_full_walk() -> None:
    assert SCHEDULE.at(0, WALK) == SCHEDULE.at(100, WALK)
    assert SCHEDULE.at(100, WALK) == RealConfig(temporal="constant")
    assert SCHEDULE.at(300, WALK) == SCHEDULE.at(10**6, WALK) == WALK
    assert SCHEDULE.at(300, RealConfig(temporal="constant")) == WALK


def test_halfway_every_step_is_half_and_nothing_else_differs() -> None:
    half = SCHEDULE.at(200, WALK)
    full = steps_of(WALK)
    assert len(full) == 3 * 5 + 2 * (1 + 2 + 1)  # blurs; resize, noise, JPEG
    assert steps_of(half) == pytest.approx({k: v / 2 for k, v in full.items()})

    def without_steps(config: RealConfig) -> Any:
        def strip(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return {k: strip(v) for k, v in value.items() if not k.endswith("_step")}

        return strip(config.model_dump())

    assert without_steps(half) == without_steps(WALK)


@given(st.integers(0, 500), st.integers(0, 500))
def test_it_never_goes_back(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    assert 0 <= SCHEDULE.share(earlier) <= SCHEDULE.share(later) <= 1
    before, after = (steps_of(SCHEDULE.at(s, WALK)) for s in (earlier, later))
    if earlier > SCHEDULE.consistent_until:
        assert all(before[name] <= after[name] for name in before)


def test_the_drawn_clips_follow_it() -> None:
    means = []
    for step in (50, 150, 300):
        config = SCHEDULE.at(step, WALK)
        means.append(np.mean([largest_change(config, seed) for seed in range(8)]))
    assert means[0] == 0
    assert 0 < means[1] < means[2]


def test_a_sudden_change_is_one_step_long() -> None:
    sudden = ProgressiveSchedule(consistent_until=10, full_from=10)
    assert sudden.at(10, WALK).temporal == "constant"
    assert sudden.at(11, WALK) == WALK


def test_steps_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="full_from comes after"):
        ProgressiveSchedule(consistent_until=10, full_from=9)
    with pytest.raises(ValidationError):
        ProgressiveSchedule(consistent_until=-1, full_from=9)


def test_a_walk_by_nothing_is_a_constant() -> None:
    rng = np.random.default_rng(0)
    assert len(set(walk(rng, (1.0, 2.0), 0.0, 9))) == 1
