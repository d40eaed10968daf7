"""The second-order pipeline: exact repetition, walks, shapes, ranges."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from upframe.degradations.bicubic import bicubic_down
from upframe.degradations.drawer import walk
from upframe.degradations.gaussian import gaussian_down
from upframe.degradations.operations import Blur, Jpeg, Noise, Resize, Video
from upframe.degradations.ranges import BDConfig, BIConfig, RealConfig
from upframe.degradations.real import Parameters, apply, draw
from upframe.degradations.registry import DegradationConfig, degrade, names


@pytest.fixture(scope="module")
def still() -> NDArray[np.uint8]:
    """One picture over and over, so that only the degradation changes."""
    y, x = np.mgrid[:64, :80]
    picture = np.stack([x * 3, y * 3, 128 + 100 * np.sin(x / 3) * np.cos(y / 4)], -1)
    return np.repeat(picture.astype(np.uint8)[None], 5, 0)


@pytest.mark.parametrize("temporal", ["constant", "walk"])
@pytest.mark.parametrize("seed", range(6))
def test_the_seed_and_the_dump_both_repeat_it(
    still: NDArray[np.uint8], temporal: str, seed: int
) -> None:
    config = RealConfig(temporal=temporal)
    parameters = draw(config, np.random.default_rng(seed), 5, (64, 80), 4)
    assert parameters == draw(config, np.random.default_rng(seed), 5, (64, 80), 4)
    low = apply(parameters, still)
    assert low.shape == (5, 16, 20, 3)
    assert low.dtype == np.uint8
    dumped = parameters.model_dump_json()
    assert json.loads(dumped)["operations"]
    again = Parameters.model_validate_json(dumped)
    assert again == parameters
    np.testing.assert_array_equal(apply(again, still), low)
    got = degrade(config, still, 4, np.random.default_rng(seed))
    np.testing.assert_array_equal(got, low)


def test_other_seeds_give_other_clips(still: NDArray[np.uint8]) -> None:
    lows = [
        degrade(RealConfig(), still, 4, np.random.default_rng(seed)).tobytes()
        for seed in range(5)
    ]
    assert len(set(lows)) == 5


def changing(parameters: Parameters) -> int:
    """How many of the per-frame parameters change over the clip."""
    found = 0
    for operation in parameters.operations:
        for name in ("sigma_x", "cutoff", "strength", "quality", "sizes"):
            values = getattr(operation, name, None)
            found += isinstance(values, tuple) and len(set(values)) > 1
    return found


def test_parameters_hold_or_walk() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert changing(draw(RealConfig(), rng, 8, (64, 64), 4)) == 0
        rng = np.random.default_rng(seed)
        walking = draw(RealConfig(temporal="walk"), rng, 8, (64, 64), 4)
        assert changing(walking) >= 3


@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.floats(-5, 5),
    width=st.floats(0, 5),
    step=st.floats(0, 2),
    frames=st.integers(1, 30),
)
def test_walks_stay_in_range_and_move_by_their_step(
    seed: int, low: float, width: float, step: float, frames: int
) -> None:
    values = walk(np.random.default_rng(seed), (low, low + width), step, frames)
    assert len(values) == frames
    assert min(values) >= low
    assert max(values) <= low + width
    if step == 0:
        assert len(set(values)) == 1
    assert np.abs(np.diff(values)).max(initial=0) <= step + 1e-9


def test_constant_blur_keeps_frames_equal_and_walking_blur_does_not(
    still: NDArray[np.uint8],
) -> None:
    clip = still.astype(np.float32) / 255
    flat = (0.0,) * 5
    one = (1.0,) * 5
    held = Blur(
        kind="iso", size=9, sigma_x=one, sigma_y=one, angle=flat, beta=one
    ).apply(clip)
    np.testing.assert_array_equal(held, np.repeat(held[:1], 5, 0))
    wide = (1.0, 1.2, 1.4, 1.6, 1.8)
    moved = Blur(
        kind="iso", size=9, sigma_x=wide, sigma_y=wide, angle=flat, beta=one
    ).apply(clip)
    assert all((a != b).any() for a, b in itertools.pairwise(moved))
    assert np.ptp(moved[4]) <= np.ptp(moved[0])


def test_walking_sizes_end_at_the_size_of_the_first(still: NDArray[np.uint8]) -> None:
    clip = still.astype(np.float32) / 255
    sizes = ((30, 40), (31, 41), (29, 38), (30, 40), (33, 42))
    out = Resize(filter="area", sizes=sizes).apply(clip)
    assert out.shape == (5, 30, 40, 3)
    np.testing.assert_array_equal(out[0], out[3])
    assert (out[0] != out[1]).any()


def test_noise_has_the_asked_strength_and_is_new_in_each_frame() -> None:
    clip = np.full((4, 64, 64, 3), 0.5, np.float32)
    for grey in (False, True):
        out = Noise(kind="gaussian", grey=grey, strength=(20.0,) * 4, seed=1).apply(
            clip
        )
        noise = out - clip
        assert noise.std() * 255 == pytest.approx(20, rel=0.05)
        assert (noise[0] != noise[1]).any()
        assert np.allclose(noise[..., 0], noise[..., 1]) == grey
    ramp = np.linspace(0.05, 1, 256, dtype=np.float32)
    clip = np.broadcast_to(ramp[None, :, None, None], (2, 256, 256, 3)).copy()
    noise = Noise(kind="poisson", grey=False, strength=(1.0,) * 2, seed=1).apply(clip)
    noise = noise - clip
    # 256 photons at white: variance = level / 256.
    row = noise[:, 120].std()
    assert row == pytest.approx(np.sqrt(ramp[120] / 256), rel=0.1)
    assert noise[:, 20].std() < row


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(9, 70), st.integers(9, 70)),
    frames=st.integers(1, 4),
    scale=st.sampled_from([2, 3, 4]),
    temporal=st.sampled_from(["constant", "walk"]),
)
def test_any_size_gives_a_clip_of_the_final_size(
    seed: int, size: tuple[int, int], frames: int, scale: int, temporal: str
) -> None:
    rng = np.random.default_rng(seed)
    clip = rng.random((frames, *size, 3), np.float32)
    low = apply(draw(RealConfig(temporal=temporal), rng, frames, size, scale), clip)
    assert low.shape == (frames, -(-size[0] // scale), -(-size[1] // scale), 3)
    assert low.dtype == np.uint8


def test_operations_come_in_order_with_the_published_odds() -> None:
    drawn = [
        draw(RealConfig(), np.random.default_rng(seed), 2, (256, 256), 4)
        for seed in range(400)
    ]
    ops = [[operation.op for operation in p.operations] for p in drawn]
    assert all(
        o.count("noise") == o.count("jpeg") == o.count("video") == 2 for o in ops
    )
    before = np.mean([o[-1] != "video" for o in ops])
    assert before == pytest.approx(0.5, abs=0.1)
    first_blurs = [p.operations[0] for p in drawn]
    iso = np.mean([isinstance(b, Blur) and b.kind == "iso" for b in first_blurs])
    assert iso == pytest.approx(0.405, abs=0.08)
    sinc = np.mean([b.op == "sinc" for b in first_blurs])
    assert sinc == pytest.approx(0.1, abs=0.05)
    for p in drawn:
        for operation in p.operations:
            if isinstance(operation, Jpeg):
                assert 30 <= min(operation.quality) <= max(operation.quality) <= 95
            if isinstance(operation, Video):
                assert (operation.quality is None) != (operation.bits_per_pixel is None)


def test_a_clip_of_another_size_is_refused(still: NDArray[np.uint8]) -> None:
    parameters = draw(RealConfig(), np.random.default_rng(0), 5, (64, 64), 4)
    with pytest.raises(ValueError, match="drawn for"):
        apply(parameters, still)


def test_the_registry_knows_all_names(still: NDArray[np.uint8]) -> None:
    assert names() == ["bd", "bi", "real", "web"]
    adapter = TypeAdapter(DegradationConfig)
    assert isinstance(adapter.validate_python({"name": "bd"}), BDConfig)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        degrade(BIConfig(), still, 4, rng)[2], bicubic_down(still[2], 4)
    )
    np.testing.assert_array_equal(
        degrade(BDConfig(), still, 4, rng), gaussian_down(still, 4)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "none"},
        {"name": "bi", "sigma": 1},
        {"name": "real", "temporal": "sometimes"},
        {"name": "real", "final_sinc": {"sizes": [8]}},
        {"name": "real", "final_sinc": {"sigma": [3, 1]}},
        {"name": "real", "final_filters": {"area": 0.2}},
    ],
)
def test_configurations_that_cannot_be_meant_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(DegradationConfig).validate_python(wrong)
