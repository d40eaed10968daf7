import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_networks import build_network, card

from upframe.errors import RuntimeFailure, UsageError, WeightsError
from upframe.runtimes.devices import has_cuda
from upframe.runtimes.onnx import OnnxRuntime


def upscale(runtime, frame):
    (output,) = runtime.session().push(frame)
    return output


def test_the_output_is_that_of_the_reference_evaluator(network, frame):
    runtime = OnnxRuntime(card(), network, threads=2)
    output = upscale(runtime, frame)
    (expected,) = ReferenceEvaluator(str(network)).run(None, {"frames": frame[None]})
    np.testing.assert_allclose(output, expected[0], atol=1e-5)
    assert (runtime.name, runtime.device) == ("onnx", "cpu")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (15, 17), (16, 24), (33, 8)])
@pytest.mark.parametrize(
    "limits", [{}, {"multiple": 8}, {"multiple": 4, "min_size": 16}]
)
def test_any_picture_size_gives_exactly_its_scaled_size(network, size, limits):
    frame = np.random.default_rng(0).random((*size, 3), np.float32)
    output = upscale(OnnxRuntime(card(**limits), network, threads=1), frame)
    assert output.shape == (2 * size[0], 2 * size[1], 3)
    assert output.dtype == np.float32
    assert output.flags.c_contiguous


def test_padding_changes_nothing_away_from_the_padded_edge(network, frame):
    plain = upscale(OnnxRuntime(card(), network, threads=1), frame[:37, :50])
    padded = upscale(
        OnnxRuntime(card(multiple=16), network, threads=1), frame[:37, :50]
    )
    np.testing.assert_allclose(padded[:-6, :-6], plain[:-6, :-6], atol=1e-6)
    assert np.abs(padded - plain).max() > 1e-3


def test_every_frame_is_answered_at_once_and_nothing_is_owed(network, frame):
    session = OnnxRuntime(card(), network, threads=1).session()
    assert [len(session.push(frame)) for _ in range(3)] == [1, 1, 1]
    assert session.flush() == []


def test_runs_repeat_bit_for_bit(network, frame):
    first = upscale(OnnxRuntime(card(), network, threads=2), frame)
    second = upscale(OnnxRuntime(card(), network, threads=2), frame)
    np.testing.assert_array_equal(first, second)


def test_outputs_that_are_no_numbers_are_a_failure(tmp_path, frame):
    path = build_network(tmp_path / "bad.onnx", bad=np.nan)
    with pytest.raises(RuntimeFailure, match="NaN") as caught:
        upscale(OnnxRuntime(card(), path, threads=1), frame)
    assert "cpu" in caught.value.advice


def test_a_network_of_another_scale_is_a_failure(tmp_path, frame):
    path = build_network(tmp_path / "x2.onnx")
    with pytest.raises(RuntimeFailure, match="card"):
        upscale(OnnxRuntime(card(scale=4), path, threads=1), frame)


def test_a_picture_the_network_cannot_take_is_a_failure(network):
    runtime = OnnxRuntime(card(), network, threads=1)
    with pytest.raises(RuntimeFailure, match="tiny failed"):
        runtime.session().push(np.zeros((8, 8, 4), np.float32))


@pytest.mark.parametrize("content", [None, b"", b"not a network", b"\x08\x09" * 50])
def test_missing_and_damaged_files_are_weights_errors(tmp_path, content):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        OnnxRuntime(card(), path)
    assert "broken.onnx" in caught.value.message
    assert caught.value.advice


def test_a_truncated_file_is_a_weights_error(tmp_path, network):
    path = tmp_path / "cut.onnx"
    path.write_bytes(network.read_bytes()[:-100])
    with pytest.raises(WeightsError):
        OnnxRuntime(card(), path)


def test_another_contract_is_a_weights_error(tmp_path):
    path = build_network(tmp_path / "other.onnx", output="result")
    with pytest.raises(WeightsError, match="upscaled"):
        OnnxRuntime(card(), path)


def test_unknown_devices_are_usage_errors(network):
    with pytest.raises(UsageError, match="tpu"):
        OnnxRuntime(card(), network, device="tpu")


@pytest.mark.skipif(has_cuda(), reason="needs an ONNX Runtime without CUDA")
def test_cuda_without_cuda_is_a_usage_error_with_the_way_out(network):
    with pytest.raises(UsageError, match="no CUDA") as caught:
        OnnxRuntime(card(), network, device="cuda:0")
    assert "onnxruntime-gpu" in caught.value.advice
