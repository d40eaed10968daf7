"""Which runtime, device and precision a model gets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_networks import card

from machines import machine
from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.runtimes.choice import Choice
from upframe.runtimes.registry import RUNTIME_NAMES, RUNTIMES, choose

FLOAT = {"onnx": Path("w.onnx"), "onnx-masked": Path("w.masked.onnx")}
BOTH = {
    **FLOAT,
    "onnx-int8": Path("w.int8.onnx"),
    "onnx-int8-masked": Path("w.int8.masked.onnx"),
    "safetensors": Path("w.safetensors"),
}
PTH = {"pth": Path("w.pth")}
FOLDER = {"folder": Path("w")}
IMAGE = card(system="ditn")
PLAIN = machine()
GPUS = machine(onnx=2, torch=2)
TORCH_ONLY = machine(torch=1)


def chosen(choice: Choice) -> tuple[str, str, str]:
    return choice.runtime, choice.device, choice.precision


@pytest.mark.parametrize(
    ("where", "files", "wishes", "wanted"),
    [
        (PLAIN, BOTH, {}, ("onnx", "cpu", "int8")),
        (PLAIN, BOTH, {"precision": "fp32"}, ("onnx", "cpu", "fp32")),
        (PLAIN, BOTH, {"precision": "int8"}, ("onnx", "cpu", "int8")),
        (PLAIN, BOTH, {"runtime": "onnx"}, ("onnx", "cpu", "int8")),
        (PLAIN, BOTH, {"runtime": "torch"}, ("torch", "cpu", "fp32")),
        (PLAIN, FLOAT, {}, ("onnx", "cpu", "fp32")),
        (PLAIN, PTH, {}, ("torch", "cpu", "fp32")),
        (GPUS, BOTH, {}, ("onnx", "cuda:0", "fp32")),
        (GPUS, BOTH, {"device": "cpu"}, ("onnx", "cpu", "int8")),
        (GPUS, BOTH, {"precision": "int8"}, ("onnx", "cpu", "int8")),
        (GPUS, BOTH, {"device": "cuda", "runtime": "onnx"}, ("onnx", "cuda:0", "fp32")),
        (GPUS, BOTH, {"device": "cuda:1"}, ("onnx", "cuda:1", "fp32")),
        (GPUS, BOTH, {"runtime": "torch"}, ("torch", "cuda:0", "fp16")),
        (GPUS, PTH, {}, ("torch", "cuda:0", "fp16")),
        (GPUS, PTH, {"precision": "fp32"}, ("torch", "cuda:0", "fp32")),
        (TORCH_ONLY, BOTH, {}, ("torch", "cuda:0", "fp16")),
        (TORCH_ONLY, BOTH, {"device": "cuda"}, ("torch", "cuda:0", "fp16")),
        (TORCH_ONLY, FLOAT, {}, ("onnx", "cpu", "fp32")),
        (machine(torch=None), BOTH, {}, ("onnx", "cpu", "int8")),
    ],
)
def test_what_auto_means_and_what_can_be_asked(where, files, wishes, wanted):
    choice = choose(IMAGE, files, **wishes, runtimes=where)
    assert chosen(choice) == wanted
    assert set(choice.asked) == set(wishes)
    assert choice.reason.endswith(".")


def test_temporal_models_run_in_fp32_on_gpus():
    temporal = card(system="mia-vsr")
    assert chosen(choose(temporal, PTH, runtimes=GPUS)) == ("torch", "cuda:0", "fp32")


@pytest.mark.parametrize(
    ("system", "half"),
    [("oasis", "bf16"), ("liftvsr", "bf16"), ("ultravsr", "fp16")],
)
def test_full_size_diffusion_systems_run_in_half_precision_on_gpus(system, half):
    large = card(system=system)
    assert choose(large, FOLDER, runtimes=GPUS).precision == half
    assert choose(large, FOLDER, precision="fp32", runtimes=GPUS).precision == "fp32"
    assert choose(large, FOLDER, runtimes=PLAIN).precision == "fp32"
    with pytest.raises(UsageError, match="torch on CUDA"):
        choose(large, FOLDER, device="cpu", precision=half, runtimes=GPUS)


@pytest.mark.parametrize(
    ("where", "files", "wishes", "why"),
    [
        (PLAIN, FLOAT, {"precision": "int8"}, "no graphs in int8"),
        (PLAIN, BOTH, {"precision": "int8", "runtime": "torch"}, "on the CPU"),
        (GPUS, BOTH, {"precision": "int8", "device": "cuda"}, "on the CPU"),
        (PLAIN, BOTH, {"precision": "fp16"}, "torch on CUDA"),
        (PLAIN, BOTH, {"precision": "fp8"}, "no precision 'fp8'"),
        (PLAIN, BOTH, {"device": "tpu"}, "tpu"),
        (PLAIN, BOTH, {"device": "cuda"}, "sees no cuda:0"),
        (PLAIN, BOTH, {"device": "cuda", "runtime": "onnx"}, "onnx sees no cuda:0"),
        (GPUS, BOTH, {"device": "cuda:2"}, "sees no cuda:2"),
        (TORCH_ONLY, FLOAT, {"device": "cuda"}, "onnx sees no cuda:0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(where, files, wishes, why):
    with pytest.raises(UsageError, match=why) as caught:
        choose(IMAGE, files, **wishes, runtimes=where)
    assert caught.value.advice


@pytest.mark.parametrize("name", ["openvino", "tensorrt", "resampling", "invalid"])
def test_runtimes_that_do_not_exist_are_refused_with_those_that_do(name):
    with pytest.raises(UsageError, match=name) as caught:
        choose(card(), BOTH, runtime=name)
    assert "auto, onnx, torch" in caught.value.advice
    assert name not in RUNTIME_NAMES


@pytest.mark.parametrize(
    ("runtime", "formats"), [("onnx", ["pth"]), ("torch", ["onnx"]), ("auto", [])]
)
def test_a_runtime_without_its_file_names_what_there_is(runtime, formats):
    files = dict.fromkeys(formats, Path("w"))
    with pytest.raises(WeightsError, match=formats[0] if formats else "none"):
        choose(card(), files, runtime=runtime)


@pytest.mark.parametrize(
    ("system", "extra"), [("ditn", "torch"), ("ultravsr", "diffusion")]
)
def test_a_missing_package_is_named_with_the_extra_that_holds_it(system, extra):
    with pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
        choose(card(system=system), PTH, runtimes=machine(torch=None))


@pytest.mark.parametrize("wishes", [{}, {"runtime": "torch"}, {"device": "cpu"}])
def test_resampling_needs_no_files_and_no_runtime(wishes):
    bicubic = card(name="bicubic", system="resampling")
    choice = choose(bicubic, {}, **wishes, runtimes=GPUS)
    assert chosen(choice) == ("resampling", "cpu", "fp32")


@pytest.mark.parametrize(
    ("wishes", "why"),
    [({"precision": "int8"}, "no graphs"), ({"device": "cuda"}, "cuda:0")],
)
def test_resampling_takes_neither_gpus_nor_int8(wishes, why):
    bicubic = card(name="bicubic", system="resampling")
    with pytest.raises(UsageError, match=why):
        choose(bicubic, {}, **wishes)


def test_the_reason_names_what_was_asked_and_what_was_found():
    choice = choose(card(), BOTH, device="cpu", runtimes=GPUS)
    assert "cpu (named)" in choice.reason
    assert "int8, fp32" in choice.reason


def test_every_runtime_is_registered_under_its_name():
    assert {name: spec.name for name, spec in RUNTIMES.items()} == {
        name: name for name in ("resampling", "onnx", "torch")
    }
