import subprocess
import sys

import numpy as np
import pytest
from onnx_networks import card

from upframe.errors import UsageError, WeightsError
from upframe.runtimes.make import open_runtime
from upframe.weights.index import find_card, weight_files


def test_resampling_cards_need_no_files(frame):
    bicubic = card(name="bicubic", system="resampling")
    runtime = open_runtime(bicubic, {}, device="cpu", threads=1)
    assert runtime.name == "resampling"
    assert runtime.session().push(frame)[0].shape == (80, 112, 3)


@pytest.mark.parametrize("runtime", ["auto", "onnx"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_an_onnx_file_is_run_by_onnx_runtime(network, frame, runtime, device):
    opened = open_runtime(
        card(), {"onnx": network}, runtime=runtime, device=device, threads=1
    )
    assert opened.name == "onnx"
    assert opened.session().push(frame)[0].shape == (80, 112, 3)


@pytest.mark.parametrize("name", ["openvino", "tensorrt", "nonsense"])
def test_runtimes_that_are_not_there_are_named_with_those_that_are(network, name):
    with pytest.raises(UsageError, match=name) as caught:
        open_runtime(card(), {"onnx": network}, runtime=name)
    assert "auto, onnx, torch" in caught.value.advice


def test_devices_that_are_not_there_are_refused_also_for_resampling():
    bicubic = card(name="bicubic", system="resampling")
    with pytest.raises(UsageError, match="tpu"):
        open_runtime(bicubic, {}, device="tpu")


@pytest.mark.parametrize(
    ("runtime", "formats"), [("onnx", ["pth"]), ("torch", ["onnx"]), ("auto", [])]
)
def test_a_runtime_without_its_file_says_what_there_is(network, runtime, formats):
    paths = dict.fromkeys(formats, network)
    with pytest.raises(WeightsError, match=formats[0] if formats else "none"):
        open_runtime(card(), paths, runtime=runtime, device="cpu")


def test_torch_and_onnx_runtime_agree_on_a_bundled_model(frame):
    pytest.importorskip("torch")
    ditn = find_card("ditn-s")
    frame = frame * np.float32(0.5)
    outputs = {
        name: open_runtime(
            ditn, weight_files(ditn), runtime=name, device="cpu", threads=2
        )
        .session()
        .push(frame)[0]
        for name in ("onnx", "torch")
    }
    assert outputs["onnx"].shape == (4 * 40, 4 * 56, 3)
    np.testing.assert_allclose(outputs["torch"], outputs["onnx"], atol=2e-4)


def test_without_an_onnx_file_auto_takes_torch():
    pytest.importorskip("torch")
    ditn = find_card("ditn-s")
    files = {"safetensors": weight_files(ditn)["safetensors"]}
    assert open_runtime(ditn, files, threads=2).name == "torch"


def test_the_core_runtimes_leave_torch_alone(network):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from onnx_networks import card\n"
        "from upframe.runtimes.make import open_runtime\n"
        "import upframe.planning.plan, upframe.runtimes.tiling\n"
        "open_runtime(card(), {'onnx': Path(sys.argv[1])})\n"
        "open_runtime(card(name='bicubic', system='resampling'), {})\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    here = __file__.rpartition("/")[0]
    subprocess.run([sys.executable, "-c", code, str(network), here], check=True)
