"""Which precision a model runs in, and what is said where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import card

from upframe.errors import UsageError
from upframe.runtimes import make
from upframe.runtimes.make import choose_precision, open_runtime
from upframe.weights.index import find_card, weight_files

FLOAT = {"onnx": Path("w.onnx"), "onnx-masked": Path("w.masked.onnx")}
BOTH = {
    **FLOAT,
    "onnx-int8": Path("w.int8.onnx"),
    "onnx-int8-masked": Path("w.int8.masked.onnx"),
    "safetensors": Path("w.safetensors"),
}


@pytest.mark.parametrize(
    ("paths", "options", "wanted"),
    [
        (BOTH, {"device": "cpu"}, "int8"),
        (BOTH, {"device": "cpu", "precision": "fp32"}, "fp32"),
        (BOTH, {"device": "cpu", "precision": "int8"}, "int8"),
        (BOTH, {"device": "cpu", "runtime": "onnx"}, "int8"),
        (BOTH, {"device": "cpu", "runtime": "torch"}, "fp32"),
        (BOTH, {"device": "cuda", "runtime": "onnx"}, "fp32"),
        (FLOAT, {"device": "cpu"}, "fp32"),
        ({"pth": Path("w.pth")}, {"device": "cpu"}, "fp32"),
        ({"pth": Path("w.pth")}, {"device": "cuda:1"}, "fp16"),
        ({"pth": Path("w.pth")}, {"device": "cuda:1", "precision": "fp32"}, "fp32"),
    ],
)
def test_what_auto_means_and_what_can_be_asked(paths, options, wanted):
    assert choose_precision(card(), paths, **options) == wanted


def test_where_onnx_runtime_takes_a_gpu_auto_is_float(monkeypatch):
    for name in ("has_cuda", "has_nvidia_gpu"):
        monkeypatch.setattr(make, name, lambda: True)
    assert choose_precision(card(), BOTH) == "fp32"
    assert choose_precision(card(), BOTH, device="cpu") == "int8"


@pytest.mark.parametrize(
    ("paths", "options", "why"),
    [
        (FLOAT, {"precision": "int8", "device": "cpu"}, "no graphs in int8"),
        (BOTH, {"precision": "int8", "runtime": "torch"}, "ONNX Runtime on the CPU"),
        (BOTH, {"precision": "int8", "device": "cuda"}, "on the CPU"),
        (BOTH, {"precision": "fp16", "device": "cpu"}, "torch on CUDA"),
        (BOTH, {"precision": "fp8"}, "no precision 'fp8'"),
    ],
)
def test_what_cannot_be_is_said(paths, options, why):
    with pytest.raises(UsageError, match=why):
        choose_precision(card(), paths, **options)


def test_resampling_is_in_float():
    bicubic = card(name="bicubic", system="resampling")
    assert choose_precision(bicubic, {}) == "fp32"
    with pytest.raises(UsageError, match="no graphs"):
        open_runtime(bicubic, {}, precision="int8")


def test_a_bundled_model_runs_in_int8_unless_told_otherwise():
    model = find_card("mia-vsr-xs")
    rng = np.random.default_rng(0)
    frames = rng.random((3, 24, 32, 3)).astype(np.float32)
    made = {}
    for precision in ("auto", "int8", "fp32"):
        session = open_runtime(
            model, weight_files(model), device="cpu", threads=1, precision=precision
        ).session()
        outputs = [out for frame in frames for out in session.push(frame)]
        made[precision] = np.stack([*outputs, *session.flush()])
    assert np.array_equal(made["auto"], made["int8"])
    error = np.square(made["int8"] - made["fp32"]).mean()
    assert 0 < error < 1e-4
