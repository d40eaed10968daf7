from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upframe.errors import UsageError
from upframe.planning.sizes import parse_time, parse_wh, resolve_size

sides = st.integers(1, 5000)
ONE = Fraction(1)


@given(sides, sides, st.integers(1, 8))
def test_without_a_wish_the_model_decides_exactly(width, height, scale):
    sar = Fraction(16, 15)
    assert resolve_size(width, height, sar, scale) == (
        width * scale,
        height * scale,
        sar,
    )


@given(sides, sides, st.floats(0.01, 16))
def test_a_scale_is_met_within_half_a_pixel(width, height, scale):
    target = resolve_size(width, height, ONE, 4, scale=scale)
    assert abs(target.width - width * scale) <= 0.5001 or target.width == 1
    assert abs(target.height - height * scale) <= 0.5001 or target.height == 1
    assert target.sar == 1


def test_scales_round_half_up_and_decimals_mean_what_they_say():
    assert resolve_size(181, 35, ONE, 4, scale=1.5)[:2] == (272, 53)
    assert resolve_size(5, 15, ONE, 4, scale=1.1)[:2] == (6, 17)


@given(sides, sides, sides)
def test_a_height_is_met_and_the_width_is_even_and_near(width, height, wish):
    target = resolve_size(width, height, ONE, 4, height_only=wish)
    assert target.height == wish
    assert target.width % 2 == 0
    assert abs(target.width - Fraction(width * wish, height)) <= 1 or target.width == 2


@given(sides, sides, sides, sides)
def test_a_size_is_met_and_keeps_the_shape_on_the_screen(width, height, w, h):
    sar = Fraction(32, 27)
    target = resolve_size(width, height, sar, 4, size=(w, h))
    assert target[:2] == (w, h)
    assert target.sar * Fraction(w, h) == sar * Fraction(width, height)


@pytest.mark.parametrize(
    "wishes",
    [
        {"scale": 2.0, "size": (1, 1)},
        {"scale": 2.0, "height_only": 3},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"size": (0, 10)},
        {"height_only": 0},
    ],
)
def test_wishes_that_cannot_be_meant_are_refused(wishes):
    with pytest.raises(UsageError) as caught:
        resolve_size(100, 100, ONE, 4, **wishes)
    assert caught.value.advice


@pytest.mark.parametrize("text", ["1280x720", " 1280 X 720 ", "1280×720"])
def test_sizes_are_read(text):
    assert parse_wh(text) == (1280, 720)


@pytest.mark.parametrize(
    "text", ["", "1280", "0x720", "x", "1280x-2", "1.5x3", "1x2x3"]
)
def test_texts_that_are_no_size_are_refused(text):
    with pytest.raises(UsageError):
        parse_wh(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.1", Fraction(1, 10)),
        ("1:30", 90),
        ("90:00", 5400),
        ("00:01:30.5", Fraction(181, 2)),
        ("100:00:00", 360000),
    ],
)
def test_times_are_read_exactly(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "1:60", "1:60:00", "1:2:3:4", "1e3", ".", "1:"]
)
def test_texts_that_are_no_time_are_refused(text):
    with pytest.raises(UsageError):
        parse_time(text)
