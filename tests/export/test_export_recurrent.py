"""The steps of MIA-VSR lite as ONNX graphs give what torch gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lite_networks import lite
from upframe.errors import OutputError
from upframe.export import onnx as exporter
from upframe.export.onnx import export_model

pytest.importorskip("onnx")


@pytest.mark.parametrize(("masks", "heads"), [(False, 1), (True, 2)])
def test_both_steps_agree_with_torch(tmp_path: Path, masks: bool, heads: int) -> None:
    network = lite(use_mask=masks, heads=heads)
    export = exporter.export_recurrent(network, tmp_path / "w.onnx")
    assert export.difference < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.masked.onnx", "w.onnx"]


def test_a_weight_file_is_exported_by_its_keys(tmp_path: Path) -> None:
    torch.save(lite().state_dict(), tmp_path / "some.pth")
    export = export_model(str(tmp_path / "some.pth"), tmp_path / "out")
    assert export.path == tmp_path / "out" / "some.onnx"
    masked = tmp_path / "out" / "some.masked.onnx"
    assert dict(export.files) == {"onnx": export.path, "onnx-masked": masked}
    assert masked.is_file()


def test_steps_that_differ_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "TOLERANCE", -1.0)
    with pytest.raises(OutputError, match="differs"):
        exporter.export_recurrent(lite(), tmp_path / "w.onnx")
    assert not list(tmp_path.iterdir())
