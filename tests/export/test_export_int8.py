"""Graphs in int8: made of the weights alone, near float, whole and masked alike."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from lite_networks import lite  # noqa: E402
from material import reference  # noqa: E402
from upframe.engine.models import Model, resolve_model  # noqa: E402
from upframe.errors import OutputError, UsageError  # noqa: E402
from upframe.evaluation.evaluate import evaluate  # noqa: E402
from upframe.export import recurrent  # noqa: E402
from upframe.export.calibration_clip import calibration_clips  # noqa: E402
from upframe.export.onnx import export_model, export_recurrent  # noqa: E402
from upframe.nn.resize import imresize  # noqa: E402
from upframe.runtimes.registry import open_runtime  # noqa: E402
from upframe.weights.loading import load  # noqa: E402


def _network():
    network = lite()
    network.conv_last.weight.data *= 0.2  # as much detail as trained ones add
    return network


@pytest.fixture(scope="module")
def xs(tmp_path_factory) -> Model:
    """The smallest bundled network, in int8 as it is exported now."""
    model = resolve_model("balanced", "mia-vsr-xs")
    path = tmp_path_factory.mktemp("xs") / "xs.int8.onnx"
    made = export_recurrent(load("mia-vsr-xs"), path, int8=True).files
    return Model(model.card, {**model.files, **made}, "")


@pytest.fixture(scope="module")
def footage():
    """Eight frames (64, 96, 3) of soft blobs and hard bars that move apart."""
    rng = np.random.default_rng(7)
    back = imresize(rng.random((20, 32, 3)), 16).clip(0, 1)
    front = np.kron(rng.random((1, 24, 3)), np.ones((64, 12, 1)))
    frames = []
    for i in range(8):
        scene = back[2 * i : 2 * i + 256, 5 * i : 5 * i + 384].copy()
        scene[96:160, 50:300] = front[:, 3 * i : 3 * i + 250]
        small = imresize(scene, scale=1 / 4).clip(0, 1)
        frames.append(np.rint(small * 255).astype(np.float32) / np.float32(255))
    return frames


def _run(model: Model, frames, precision: str, keep: float | None = None):
    session = open_runtime(
        model.card,
        model.files,
        runtime="onnx",
        device="cpu",
        threads=1,
        keep_ratio=keep,
        precision=precision,
    ).session()
    outputs = [out for frame in frames for out in session.push(frame)]
    return np.stack([*outputs, *session.flush()])


def _psnr(one, other) -> float:
    return float(-10 * np.log10(np.square(one - other).mean() + 1e-12))


def test_drawn_clips_are_the_same_every_time():
    one, other = calibration_clips(), calibration_clips()
    assert [clip.shape for clip in one] == [(5, 96, 128, 3)] * 3
    for clip, again in zip(one, other, strict=True):
        assert np.array_equal(clip, again)
        assert np.array_equal(np.rint(clip * 255), clip * np.float32(255))
        assert clip.min() < 0.1
        assert clip.max() > 0.9
        assert not np.array_equal(clip[0], clip[1])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network with random weights, in int8."""
    path = tmp_path_factory.mktemp("small") / "w.int8.onnx"
    return export_recurrent(_network(), path, int8=True)


def test_an_export_is_a_function_of_the_weights(small, tmp_path):
    path = tmp_path / "some.ckpt"
    recipe = '{"system": {"args": {"use_mask": false}}}'
    torch.save({"recipe": recipe, "params": _network().state_dict()}, path)
    again = export_model(str(path), tmp_path / "out", int8=True)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["some.int8.masked.onnx", "some.int8.onnx"]
    assert sorted(again.files) == ["onnx-int8", "onnx-int8-masked"]
    assert again.path.name == "some.int8.onnx"
    assert again.fidelity == small.fidelity > 40
    for kind, path in again.files.items():
        assert path.read_bytes() == small.files[kind].read_bytes()


def test_what_is_kept_is_bytes(small):
    graph = onnx.load(str(small.files["onnx-int8-masked"])).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    bytes_ = {n for n, kind in kinds.items() if kind == onnx.TensorProto.UINT8}
    assert bytes_ == {"hidden", "detail", *(f"input_{i}" for i in range(7))}
    whole = sum(i.data_type == onnx.TensorProto.INT8 for i in graph.initializer)
    assert whole >= 9  # weights of nine convolutions


@pytest.mark.parametrize("keep", [1.0, 0.5, None])
def test_a_bundled_network_is_near_float(xs, footage, keep):
    exact = _run(xs, footage, "fp32", keep)
    assert _psnr(_run(xs, footage, "int8", keep), exact) > 45


def test_whole_and_masked_steps_are_alike(xs, footage):
    """A keep ratio below 0.8 goes through masked steps; the first computes all."""
    whole = _run(xs, footage[:2], "int8", 1.0)
    masked = _run(xs, footage[:2], "int8", 0.79)
    assert _psnr(masked[0], whole[0]) > 55


def test_a_still_scene_comes_to_rest(xs, footage):
    frames = footage[:1] * 12
    made = _run(xs, frames, "int8")
    assert np.array_equal(made[-1], made[-2])
    assert _psnr(made, _run(xs, frames, "int8", 1.0)) > 45


@pytest.mark.parametrize("data", ["data/val_video", "data/vid4"])
def test_it_loses_little_on_real_clips(xs, data):
    folder = reference(data)
    scores = [
        evaluate(
            model=xs,
            data=folder,
            protocol="vid4",
            metrics=["psnr"],
            frames=2,
            runtime="onnx",
            device="cpu",
            threads=1,
            precision=precision,
        )
        for precision in ("fp32", "int8")
    ]
    assert scores[0].mean["psnr"] - scores[1].mean["psnr"] < 0.05
    assert "in int8" in scores[1].settings
    assert "in int8" not in scores[0].settings


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(UsageError, match="no export in int8"):
        export_model("ditn-s", tmp_path, int8=True)


@pytest.mark.parametrize("found", [(39.0, 50.0), (50.0, 39.0), (50.0, np.nan)])
def test_graphs_that_lose_too_much_are_not_kept(tmp_path, monkeypatch, found):
    def export(network, path, opset):
        path.write_text("")
        recurrent.masked_path(path).write_text("")
        return found

    monkeypatch.setattr(recurrent, "export_int8", export)
    with pytest.raises(OutputError, match="dB"):
        export_recurrent(_network(), tmp_path / "w.onnx", int8=True)
    assert not list(tmp_path.iterdir())
