"""The bicubic degradation is MATLAB's, of pictures and of clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from material import reference
from upframe.degradations.bicubic import bicubic_down, to_uint8
from upframe.nn.resize import imresize


def test_equal_to_matlab() -> None:
    golden = load_file(reference("golden/imresize.safetensors"))
    np.testing.assert_array_equal(bicubic_down(golden["hr"], 4), golden["lr_x4"])


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.integers(1, 6),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    frames=st.integers(1, 3),
)
def test_a_clip_is_shrunk_like_its_pictures_in_the_reference(
    seed: int, scale: int, size: tuple[int, int], frames: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (frames, size[0] * scale, size[1] * scale, 3)
    clip = rng.integers(0, 256, shape, dtype=np.uint8)
    small = bicubic_down(clip, scale)
    for one, picture in zip(small, clip, strict=True):
        np.testing.assert_array_equal(one, bicubic_down(picture, scale))
        exact = imresize(picture / 255.0, 1 / scale)
        # Where the exact value is a half, the reference may be a hair below it.
        tie = np.abs(exact * 255 % 1 - 0.5) < 1e-9
        np.testing.assert_array_equal(one[~tie], to_uint8(exact)[~tie])


def test_refuses_sides_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="no multiple of 4"):
        bicubic_down(np.zeros((8, 10, 3), np.uint8), 4)
