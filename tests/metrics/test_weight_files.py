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
    monkeypatch.delenv(files.DATA, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "platformdirs.user_data_path", lambda *a, **k: tmp_path / "user"
    )


def test_a_path_is_a_file_or_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(b"x")
    assert files.find_file("weights.npz", "X", file) == file
    assert files.find_file("weights.npz", "X", tmp_path) == file


def test_the_variable_comes_before_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "named", tmp_path / "user" / "metrics"):
        folder.mkdir(parents=True)
        (folder / "weights.npz").write_bytes(b"x")
    assert "user" in files.find_file("weights.npz", "X").parts
    monkeypatch.setenv(files.VARIABLE, str(tmp_path / "named"))
    assert "named" in files.find_file("weights.npz", "X").parts
    monkeypatch.setenv(files.VARIABLE, str(tmp_path / "named" / "weights.npz"))
    assert "named" in files.find_file("weights.npz", "X").parts
    with pytest.raises(WeightsError):
        files.find_file("others.npz", "X")


def test_the_folder_of_data_sets_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "data" / "metrics", tmp_path / "packs" / "metrics"):
        folder.mkdir(parents=True)
        (folder / "weights.npz").write_bytes(b"x")
    assert files.find_file("weights.npz", "X") == Path("data/metrics/weights.npz")
    monkeypatch.setenv(files.DATA, str(tmp_path / "packs"))
    assert "packs" in files.find_file("weights.npz", "X").parts


def test_the_advice_names_file_folder_and_variable(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        files.find_file("weights.npz", "NIQE")
    assert "The weights of NIQE" in caught.value.message
    for part in ("weights.npz", str(tmp_path / "user" / "metrics"), files.VARIABLE):
        assert part in caught.value.advice
    with pytest.raises(WeightsError, match="the folder that holds it"):
        files.find_file("weights.npz", "NIQE", tmp_path)


def test_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"abc")
    assert files.fingerprint(tmp_path / "a.npz") == "a.npz ba7816bf"
