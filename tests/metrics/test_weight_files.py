"""Where the weights of metrics are looked for, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from upframe.errors import WeightsError
from upframe.metrics import files


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of this machine is found."""
    monkeypatch.delenv(files.VARIABLE, raising=False)
    monkeypatch.setattr(
        "platformdirs.user_data_path", lambda *a, **k: tmp_path / "data"
    )
    here = tmp_path / "lib" / "python" / "upframe" / "metrics" / "files.py"
    monkeypatch.setattr(files, "__file__", str(here))


def test_a_path_is_a_file_or_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(b"x")
    assert files.find_file("weights.npz", "X", file) == file
    assert files.find_file("weights.npz", "X", tmp_path) == file


def test_the_variable_comes_before_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "named", tmp_path / "data" / "metrics"):
        folder.mkdir(parents=True)
        (folder / "weights.npz").write_bytes(b"x")
    assert "data" in files.find_file("weights.npz", "X").parts
    monkeypatch.setenv(files.VARIABLE, str(tmp_path / "named"))
    assert "named" in files.find_file("weights.npz", "X").parts
    monkeypatch.setenv(files.VARIABLE, str(tmp_path / "named" / "weights.npz"))
    assert "named" in files.find_file("weights.npz", "X").parts
    with pytest.raises(WeightsError):
        files.find_file("others.npz", "X")


def test_a_checkout_looks_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "checkout" / "src" / "upframe" / "metrics" / "files.py"
    folder = tmp_path / "shared" / "weights" / "metrics"
    for new in (module.parent, folder):
        new.mkdir(parents=True)
    (tmp_path / "checkout" / "pyproject.toml").touch()
    (folder / "weights.npz").write_bytes(b"x")
    monkeypatch.setattr(files, "__file__", str(module))
    assert files.find_file("weights.npz", "X") == folder / "weights.npz"


def test_the_advice_names_file_folder_and_variable(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        files.find_file("weights.npz", "NIQE")
    assert "The weights of NIQE" in caught.value.message
    for part in ("weights.npz", str(tmp_path / "data" / "metrics"), files.VARIABLE):
        assert part in caught.value.advice
    with pytest.raises(WeightsError, match="the folder that holds it"):
        files.find_file("weights.npz", "NIQE", tmp_path)


def test_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"abc")
    assert files.fingerprint(tmp_path / "a.npz") == "a.npz ba7816bf"
