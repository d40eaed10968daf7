"""RGB through every coded form and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upframe.media.colour import Colour, FromRGB, ToRGB, resolve

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p12le", "gbrp"]


def _there_and_back(pixels, pix_fmt, matrix, span, *, deep=False):
    colour = Colour(matrix, 1, 1, span)
    height, width, channels = pixels.shape
    coded = FromRGB(pix_fmt, colour)(pixels)
    if pix_fmt != "gbrp":
        assert (coded.colorspace, coded.color_range) == (matrix, span)
    back = ToRGB(colour, width, height, alpha=channels == 4, deep=deep)(coded)
    assert back.shape == pixels.shape
    assert back.dtype == (np.uint16 if deep else np.uint8)
    return back


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.sampled_from(FORMATS),
    st.sampled_from([1, 5, 6, 7, 9]),
    st.sampled_from([1, 2]),
)
def test_flat_colours_come_back(colour, pix_fmt, matrix, span):
    pixels = np.empty((16, 18, 3), np.uint8)
    pixels[:] = colour
    back = _there_and_back(pixels, pix_fmt, matrix, span)
    assert np.abs(back.astype(int) - pixels).max() <= 3


def test_ten_bits_hold_more_than_eight():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (16, 256, 3)).copy()
    back = _there_and_back(pixels, "yuv444p10le", 1, 1, deep=True)
    assert np.abs(back.astype(int) - pixels).max() < 150  # 2.3 of 1023 levels
    eight = _there_and_back(pixels, "yuv444p", 1, 1, deep=True)
    assert np.unique(back[8, :, 1]).size == 256
    assert np.unique(eight[8, :, 1]).size < 230


def test_alpha_is_kept():
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 3] = np.arange(16)[None] * 16
    back = _there_and_back(pixels, "yuva420p", 1, 1)
    assert np.abs(back[..., 3].astype(int) - pixels[..., 3]).max() <= 1


@pytest.mark.parametrize(
    ("size", "tags", "matrix"),
    [
        ((1280, 720), Colour(2, 2, 2, 0), 1),
        ((640, 480), Colour(2, 2, 2, 0), 6),
        ((720, 576), Colour(2, 2, 2, 0), 5),
        ((640, 480), Colour(1, 1, 1, 2), 1),
        ((3840, 2160), Colour(2, 9, 16, 1), 9),
        ((64, 64), Colour(0, 2, 2, 2), 1),
    ],
)
def test_what_files_leave_unsaid(size, tags, matrix):
    found = resolve(tags, *size, rgb=tags.matrix == 0)
    assert found.matrix == matrix
    assert found.range in (1, 2)
    assert 2 not in (found.primaries, found.transfer)
