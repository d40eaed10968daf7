"""MATLAB's imresize: against its output, against its definition, for any size."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from material import reference
from upframe.nn.resize import contributions, imresize

sides = st.integers(1, 40)


def test_equals_matlab() -> None:
    golden = load_file(reference("golden/imresize.safetensors"))
    small = imresize(golden["hr"] / 255.0, 1 / 4)
    rounded = np.floor(np.clip(small, 0, 1) * 255 + 0.5)
    np.testing.assert_array_equal(rounded, golden["lr_x4"])


def test_known_weights() -> None:
    # Keys' cubic halfway between samples: -1/16, 9/16, 9/16, -1/16
    line = np.array([[0.0, 0.0, 1.0, 0.0, 0.0]])
    doubled = imresize(line, size=(1, 10))[0]
    np.testing.assert_allclose(doubled[4:6], [0.8671875, 0.8671875])
    np.testing.assert_allclose(doubled.sum(), 2.0)


def test_shrinking_by_four_uses_sixteen_taps() -> None:
    indices, weights = contributions(64, 16, 0.25, "bicubic", True)
    assert weights.shape[1] == 16
    assert contributions(64, 16, 0.25, "bicubic", False)[1].shape[1] == 4
    assert indices.min() == 0
    assert indices.max() == 63


@given(sides, sides, sides, sides, st.sampled_from(["bicubic", "lanczos3"]))
def test_constant_stays_constant(
    height: int, width: int, out_height: int, out_width: int, kernel: str
) -> None:
    image = np.full((height, width, 3), 0.3)
    out = imresize(image, size=(out_height, out_width), kernel=kernel)  # type: ignore[arg-type]
    assert out.shape == (out_height, out_width, 3)
    np.testing.assert_allclose(out, 0.3)


@given(sides, sides, st.sampled_from([0.25, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0]))
def test_float32_agrees_with_double(height: int, width: int, scale: float) -> None:
    image = np.random.default_rng(height * 41 + width).random((height, width, 3))
    single = imresize(image.astype(np.float32), scale)
    assert single.dtype == np.float32
    assert single.flags.c_contiguous
    np.testing.assert_allclose(single, imresize(image, scale), atol=2e-6)


@given(sides, sides, st.sampled_from([0.5, 1.5, 3.0]))
def test_turning_over_commutes(height: int, width: int, scale: float) -> None:
    image = np.random.default_rng(width).random((height, width))
    np.testing.assert_allclose(
        imresize(image.T, scale), imresize(image, scale).T, atol=1e-12
    )


def test_same_size_is_a_copy() -> None:
    image = np.ones((4, 5))
    out = imresize(image, 1)
    out[:] = 0
    assert image.all()


@pytest.mark.parametrize(
    "arguments", [{}, {"scale": 2, "size": (3, 3)}, {"scale": 0}, {"size": (0, 3)}]
)
def test_refuses_what_cannot_be_meant(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"scale|size"):
        imresize(np.ones((4, 4)), **arguments)  # type: ignore[arg-type]


def test_needs_no_torch() -> None:
    code = "import sys, upframe.nn.resize; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
