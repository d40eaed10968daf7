"""GPUs that fail: reported where auto took them, an error where the user named them.

No GPU is needed: a registry says that there is one, and ONNX Runtime or torch, which
have none here, then refuse it by themselves.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx_networks import card

from machines import machine
from upframe.errors import RuntimeFailure, WeightsError
from upframe.runtimes import onnx
from upframe.runtimes.choice import Choice, Fallback
from upframe.runtimes.devices import has_cuda
from upframe.runtimes.onnx import OnnxRuntime
from upframe.runtimes.registry import RUNTIMES, choose, open_runtime
from upframe.runtimes.spec import DeviceUnavailableError

pytestmark = pytest.mark.skipif(has_cuda(), reason="needs an ONNX Runtime without CUDA")

GPUS = machine(onnx=1, torch=1)


def test_auto_goes_on_without_a_gpu_that_cannot_be_used_and_reports_it(network, frame):
    files = {"onnx": network, "onnx-int8": network}
    choice = choose(card(), files, runtimes=GPUS)
    assert (choice.device, choice.precision) == ("cuda:0", "fp32")
    runtime = open_runtime(card(), files, choice, threads=1, runtimes=GPUS)
    # as where there is no GPU at all
    assert (runtime.name, runtime.device, runtime.precision) == ("onnx", "cpu", "int8")
    device, precision = runtime.fallbacks
    assert (device.what, device.before, device.after) == ("device", "cuda:0", "cpu")
    assert (precision.before, precision.after) == ("fp32", "int8")
    assert device.frame == 0
    assert "no CUDA" in str(device)
    assert runtime.session().push(frame)[0].shape == (80, 112, 3)
    # a resumed run begins with what this one ended with, and tries no GPU
    kept = [
        Fallback.from_json(json.loads(json.dumps(f.to_json())))
        for f in runtime.fallbacks
    ]
    again = open_runtime(card(), files, choice.after(kept), threads=1, runtimes=GPUS)
    assert (again.device, again.precision, again.fallbacks) == ("cpu", "int8", [])


def test_a_precision_that_was_asked_stays(network):
    files = {"onnx": network, "onnx-int8": network}
    choice = choose(card(), files, precision="fp32", runtimes=GPUS)
    runtime = open_runtime(card(), files, choice, threads=1, runtimes=GPUS)
    assert (runtime.device, runtime.precision) == ("cpu", "fp32")
    assert [one.what for one in runtime.fallbacks] == ["device"]


def test_a_named_gpu_that_cannot_be_used_is_an_error(network):
    choice = choose(card(), {"onnx": network}, device="cuda", runtimes=GPUS)
    with pytest.raises(DeviceUnavailableError, match="CUDA") as caught:
        open_runtime(card(), {"onnx": network}, choice, runtimes=GPUS)
    assert "onnxruntime-gpu" in caught.value.advice


def test_a_torch_without_the_gpu_falls_back_too(frame):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("needs a torch without CUDA")
    from upframe.weights.index import find_card, weight_files

    ditn = find_card("ditn-s")
    files = {"safetensors": weight_files(ditn)["safetensors"]}
    runtime = open_runtime(ditn, files, threads=2, runtimes=GPUS)
    assert (runtime.name, runtime.device, runtime.precision) == ("torch", "cpu", "fp32")
    assert [one.what for one in runtime.fallbacks] == ["device", "precision"]
    with pytest.raises(DeviceUnavailableError, match="cuda:0"):
        open_runtime(ditn, files, device="cuda", runtimes=GPUS)


def test_errors_of_a_driver_while_a_model_is_moved_are_those_of_the_device(tmp_path):
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA driver version is insufficient\nmore")

    from upframe.runtimes import torch_spec

    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_spec, "require_device", lambda _: None)
        patch.setattr(torch_spec, "_load", fail)
        choice = Choice("torch", "cuda:0", "fp16")
        with pytest.raises(DeviceUnavailableError, match="insufficient") as caught:
            RUNTIMES["torch"].open(card(), {"pth": tmp_path}, choice, None)
        assert "more" not in caught.value.message
        with pytest.raises(RuntimeError):
            RUNTIMES["torch"].open(
                card(), {"pth": tmp_path}, replace(choice, device="cpu"), None
            )


def test_a_damaged_file_is_no_reason_to_fall_back(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match=r"bad\.onnx"):
        open_runtime(card(), {"onnx": path}, threads=1, runtimes=GPUS)


class DyingGPU:
    """A session of ONNX Runtime whose GPU fails at the third frame."""

    def __init__(self, session: onnxruntime.InferenceSession, error: str) -> None:
        self._session, self._error, self._left = session, error, 2

    def get_inputs(self):
        return self._session.get_inputs()

    def get_outputs(self):
        return self._session.get_outputs()

    def run(self, names, feed):
        if self._left == 0:
            raise RuntimeError(self._error)
        self._left -= 1
        return self._session.run(names, feed)


@pytest.fixture
def on_dying_gpu(network, monkeypatch):
    real = onnx.load_network

    def open_it(error: str = "CUDA failure 700", **options) -> OnnxRuntime:
        def load(path, gpu, threads):
            session = real(path, None, threads)
            return session if gpu is None else DyingGPU(session, error)

        monkeypatch.setattr(onnx, "load_network", load)
        return OnnxRuntime(card(), network, device="cuda", threads=1, **options)

    return open_it


def test_a_gpu_that_fails_on_the_way_is_left_and_reported(on_dying_gpu, network, frame):
    runtime = on_dying_gpu(fixed=False)
    session = runtime.session()
    session.begin(100, {})
    outputs = [session.push(frame)[0] for _ in range(4)]
    (expected,) = OnnxRuntime(card(), network, threads=1).session().push(frame)
    for output in outputs:
        np.testing.assert_array_equal(output, expected)
    assert runtime.device == "cpu"
    (fallback,) = runtime.fallbacks
    assert (fallback.before, fallback.after, fallback.frame) == ("cuda:0", "cpu", 102)
    assert "CUDA failure 700" in fallback.why


@pytest.mark.parametrize(
    ("error", "fixed"), [("CUDA failure 700", True), ("out of memory", False)]
)
def test_a_named_gpu_and_exhausted_memory_are_errors(on_dying_gpu, frame, error, fixed):
    runtime = on_dying_gpu(error, fixed=fixed)
    session = runtime.session()
    session.push(frame)
    session.push(frame)
    with pytest.raises(RuntimeFailure, match="tiny"):
        session.push(frame)
    assert (runtime.device, runtime.fallbacks) == ("cuda:0", [])


def test_onnx_runtime_itself_never_falls_back(network):
    session = onnx.load_network(network, None, 1)
    assert session._enable_fallback is False
