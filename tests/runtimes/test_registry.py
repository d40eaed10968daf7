import subprocess
import sys

import numpy as np
import pytest
from onnx_networks import card

from upframe.errors import UsageError
from upframe.runtimes.choice import Choice
from upframe.runtimes.registry import open_runtime
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
        "from upframe.runtimes.registry import open_runtime\n"
        "import upframe.planning.plan, upframe.runtimes.tiling\n"
        "open_runtime(card(), {'onnx': Path(sys.argv[1])})\n"
        "open_runtime(card(name='bicubic', system='resampling'), {})\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    here = __file__.rpartition("/")[0]
    subprocess.run([sys.executable, "-c", code, str(network), here], check=True)


def test_a_bundled_model_runs_in_int8_unless_told_otherwise():
    model = find_card("mia-vsr-xs")
    rng = np.random.default_rng(0)
    frames = rng.random((3, 24, 32, 3)).astype(np.float32)
    made = {}
    for precision in ("auto", "int8", "fp32"):
        runtime = open_runtime(
            model, weight_files(model), device="cpu", threads=1, precision=precision
        )
        assert runtime.precision == ("int8" if precision == "auto" else precision)
        session = runtime.session()
        outputs = [out for frame in frames for out in session.push(frame)]
        made[precision] = np.stack([*outputs, *session.flush()])
    assert np.array_equal(made["auto"], made["int8"])
    error = np.square(made["int8"] - made["fp32"]).mean()
    assert 0 < error < 1e-4


@pytest.mark.parametrize("ratio", [-0.1, 1.5])
def test_keep_ratios_are_shares_and_for_masked_models(network, ratio):
    with pytest.raises(UsageError, match="out of range"):
        open_runtime(card(masked=True), {"onnx": network}, keep_ratio=ratio)
    with pytest.raises(UsageError, match="no keep ratio"):
        open_runtime(card(), {"onnx": network}, keep_ratio=0.5)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_have_a_range_and_are_for_models_with_noise(network, seed):
    with pytest.raises(UsageError, match="out of range"):
        open_runtime(card(seeded=True), {"onnx": network}, seed=seed)
    with pytest.raises(UsageError, match="no seed"):
        open_runtime(card(), {"onnx": network}, seed=1)


def test_a_runtime_of_a_later_version_is_refused(network):
    stored = Choice("openvino", "cpu", "fp32")
    with pytest.raises(UsageError, match="no runtime 'openvino'"):
        open_runtime(card(), {"onnx": network}, stored)


def test_importing_the_package_is_fast_and_leaves_heavy_packages_alone():
    code = (
        "import sys, time; began = time.perf_counter(); import upframe\n"
        "heavy = {'torch', 'onnxruntime', 'av', 'pydantic'} & set(sys.modules)\n"
        "print(time.perf_counter() - began, *heavy)\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert all(heavy == [] for _, *heavy in runs)
    assert min(float(seconds) for seconds, *_ in runs) < 0.5
