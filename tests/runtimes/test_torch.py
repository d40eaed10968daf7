import numpy as np
import pytest
from onnx_networks import card

from upframe.errors import RuntimeFailure, UsageError
from upframe.planning.tiles import plan_tiles
from upframe.runtimes.choice import Choice
from upframe.runtimes.tiling import TiledSession

torch = pytest.importorskip("torch")

from upframe.runtimes.torch import TorchRuntime  # noqa: E402


@pytest.fixture
def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 12, 3, padding=1),
        torch.nn.PixelShuffle(2),
    )


def test_the_output_is_that_of_the_module_clipped(module, frame):
    batch = torch.from_numpy(frame).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = module(batch)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    runtime = TorchRuntime(card(), module, threads=2)
    session = runtime.session()
    (output,) = session.push(frame)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    assert output.flags.c_contiguous
    assert session.flush() == []
    assert (runtime.name, runtime.device) == ("torch", "cpu")


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 17)])
def test_any_picture_size_gives_exactly_its_scaled_size(module, size):
    frame = np.zeros((*size, 3), np.float32)
    frame.flags.writeable = False
    (output,) = TorchRuntime(card(multiple=8), module, threads=1).session().push(frame)
    assert output.shape == (2 * size[0], 2 * size[1], 3)


def test_tiled_equals_whole(module, frame):
    runtime = TorchRuntime(card(), module, threads=1)
    (whole,) = runtime.session().push(frame)
    (tiled,) = TiledSession(runtime, plan_tiles(56, 40, 24, 24, 8)).push(frame)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)


class OutOfRange(torch.nn.Module):
    """A picture that passes through values that half precision does not know."""

    def forward(self, x):
        self.dtype = x.dtype
        big = x.repeat_interleave(2, 2).repeat_interleave(2, 3) * 1e5
        return big - big + 0.5


def test_nan_in_half_precision_is_computed_again_in_float32_and_so_is_the_rest(frame):
    module = OutOfRange()
    runtime = TorchRuntime(card(), module, precision="fp16", threads=1, fixed=False)
    session = runtime.session()
    session.begin(40, {})
    session.push(np.zeros_like(frame))
    assert (module.dtype, runtime.precision) == (torch.float16, "fp16")
    assert runtime.fallbacks == []
    np.testing.assert_array_equal(session.push(frame)[0], np.float32(0.5))
    session.push(np.zeros_like(frame))
    assert (module.dtype, runtime.precision) == (torch.float32, "fp32")
    (fallback,) = runtime.fallbacks
    assert (fallback.what, fallback.before, fallback.after) == (
        "precision",
        "fp16",
        "fp32",
    )
    assert fallback.frame == 41
    assert "From frame 41 on" in str(fallback)
    assert (
        Choice("torch", "cuda:0", "fp16").after(runtime.fallbacks).precision == "fp32"
    )


def test_nan_in_half_precision_is_a_failure_where_the_user_asked_for_it(frame):
    runtime = TorchRuntime(card(), OutOfRange(), precision="fp16", threads=1)
    with pytest.raises(RuntimeFailure, match="NaN") as caught:
        runtime.session().push(frame)
    assert "--precision fp32" in caught.value.advice
    assert (runtime.precision, runtime.fallbacks) == ("fp16", [])


def test_what_is_no_number_in_float32_either_is_a_failure(module, frame):
    with torch.no_grad():
        module[0].weight[0, 0, 1, 1] = float("nan")
    runtime = TorchRuntime(card(), module, precision="fp16", threads=1, fixed=False)
    with pytest.raises(RuntimeFailure, match="NaN"):
        runtime.session().push(frame)


def test_nan_in_float32_is_a_failure(module, frame):
    with torch.no_grad():
        module[0].weight[0, 0, 1, 1] = float("nan")
    with pytest.raises(RuntimeFailure, match="NaN"):
        TorchRuntime(card(), module, threads=1).session().push(frame)


class Hungry(torch.nn.Module):
    def forward(self, x):
        return torch.empty(2**58).sum() + x


def test_exhausted_memory_is_a_failure_with_advice(frame):
    with pytest.raises(RuntimeFailure, match="out of memory") as caught:
        TorchRuntime(card(), Hungry(), threads=1).session().push(frame)
    assert "--memory" in caught.value.advice


def test_faults_of_the_module_are_failures(frame):
    module = torch.nn.Conv2d(4, 12, 3)
    with pytest.raises(RuntimeFailure, match="tiny failed"):
        TorchRuntime(card(), module, threads=1).session().push(frame)


def test_a_gpu_that_is_not_there_is_a_usage_error(module):
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(UsageError, match=missing):
        TorchRuntime(card(), module, device=missing)
