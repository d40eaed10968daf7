"""ONNX files give what torch gives, at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import upframe
from upframe.errors import OutputError
from upframe.export import onnx as exporter
from upframe.export.onnx import export_model, export_onnx
from upframe.systems.ditn.model import DITN
from upframe.weights.index import find_card, weight_files


def _network(**arguments: object) -> DITN:
    torch.manual_seed(0)
    network = DITN(dim=8, n_itl=1, n_sal=1, **arguments).eval()  # type: ignore[arg-type]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize(
    "arguments",
    [{"scale": 2}, {"scale": 4, "residual": True}, {"scale": 3, "norm": "layer"}],
    ids=str,
)
def test_export_agrees_with_torch(tmp_path: Path, arguments: dict[str, object]) -> None:
    export = export_onnx(_network(**arguments), tmp_path / "w.onnx")
    assert export.difference <= 1e-4


def test_pointwise_layers_and_factors_are_merged(tmp_path: Path) -> None:
    export_onnx(_network(scale=2), tmp_path / "w.onnx")
    graph = onnx.load(tmp_path / "w.onnx").graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    # sft, body, upsample, 2 that keep blocks; ITL 3 + 1 and SAL 2 + 3 + 1; FFN 2 * 5
    assert len(convolutions) == 3 + 2 + 4 + 6 + 10
    constants = {item.name for item in graph.initializer}
    read = {name for node in graph.node for name in node.input}
    assert constants <= read
    factors = [node for node in graph.node if node.op_type == "Mul"]
    assert not any("SDA.scale" in name for node in factors for name in node.input)


def test_export_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = _network(scale=2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        want = network(x)
        export_onnx(network, tmp_path / "w.onnx")
        assert torch.equal(network(x), want)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_an_export_that_differs_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "TOLERANCE", -1.0)
    with pytest.raises(OutputError, match="differs"):
        export_onnx(_network(), tmp_path / "w.onnx")
    assert not (tmp_path / "w.onnx").exists()


@pytest.mark.parametrize("shape", [(1, 16, 16, 3), (3, 24, 40, 3), (1, 72, 56, 3)])
def test_the_bundled_graph_is_the_bundled_network(shape: tuple[int, ...]) -> None:
    path = weight_files(find_card("ditn-s"))["onnx"]
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(1).random(shape, dtype=np.float32)
    (got,) = session.run(["upscaled"], {"frames": x})
    with torch.inference_mode():
        out = upframe.load("ditn-s")(torch.from_numpy(x).permute(0, 3, 1, 2))
    want = out.clamp(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_exporting_by_name_gives_the_bundled_network(tmp_path: Path) -> None:
    export = export_model("ditn-s", tmp_path / "new")
    assert export.path == tmp_path / "new" / "ditn-s.onnx"
    x = np.random.default_rng(1).random((1, 24, 32, 3), dtype=np.float32)
    bundled = weight_files(find_card("ditn-s"))["onnx"]
    results = [
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"]).run(
            None, {"frames": x}
        )[0]
        for p in (export.path, bundled)
    ]
    np.testing.assert_allclose(*results, atol=1e-5)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_model("fast", tmp_path / "file")
