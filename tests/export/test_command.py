"""``upframe export`` from the command line."""

from __future__ import annotations

import pytest

from e2e_support import InProcess

pytest.importorskip("onnx")


def test_a_bundled_model_is_exported(tmp_path, monkeypatch, capsys):
    run = InProcess(monkeypatch, capsys)
    ran = run("export", "ditn-s", "--format", "onnx", "-o", tmp_path)
    assert ran.code == 0, ran.err
    assert [p.suffix for p in tmp_path.iterdir() if p.suffix == ".onnx"] == [".onnx"]


def test_an_unknown_model_is_one_sentence(tmp_path, monkeypatch, capsys):
    run = InProcess(monkeypatch, capsys)
    ran = run("export", "nonsense", "--format", "onnx", "-o", tmp_path)
    assert ran.code == 2
    assert "There is no model" in ran.err
