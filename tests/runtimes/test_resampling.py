import numpy as np
import pytest
from onnx_networks import card

from upframe.errors import WeightsError
from upframe.nn.resize import imresize
from upframe.planning.tiles import plan_tiles
from upframe.runtimes.resampling import ResamplingRuntime
from upframe.runtimes.tiling import TiledSession


def resampling(name, scale=4):
    return card(name=name, system="resampling", scale=scale)


@pytest.mark.parametrize(
    ("name", "kernel"), [("bicubic", "bicubic"), ("lanczos", "lanczos3")]
)
def test_it_is_the_reference_resize_clipped(frame, name, kernel):
    (output,) = ResamplingRuntime(resampling(name)).session().push(frame)
    expected = imresize(frame.astype(np.float64), scale=4, kernel=kernel)
    assert output.dtype == np.float32
    assert output.flags.c_contiguous
    np.testing.assert_allclose(output, np.clip(expected, 0, 1), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_any_picture_size_is_taken(size):
    frame = np.ones((*size, 3), np.float32)
    (output,) = ResamplingRuntime(resampling("bicubic", 3)).session().push(frame)
    np.testing.assert_allclose(
        output, np.ones((3 * size[0], 3 * size[1], 3)), atol=1e-6
    )


def test_tiled_equals_whole(frame):
    runtime = ResamplingRuntime(resampling("lanczos"))
    (whole,) = runtime.session().push(frame)
    (tiled,) = TiledSession(runtime, plan_tiles(56, 40, 24, 24, 8)).push(frame)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)


def test_the_input_is_left_alone(frame):
    before = frame.copy()
    ResamplingRuntime(resampling("bicubic", 1)).session().push(frame)
    np.testing.assert_array_equal(frame, before)


def test_unknown_kernels_are_refused_by_name():
    with pytest.raises(WeightsError, match="nearest") as caught:
        ResamplingRuntime(resampling("nearest"))
    assert "lanczos" in caught.value.advice
