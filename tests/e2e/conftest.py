"""Fixtures that tests of the command line share."""

import pytest

from e2e_support import InProcess


@pytest.fixture
def cli(monkeypatch, capsys):
    """The command line inside this process."""
    return InProcess(monkeypatch, capsys)


@pytest.fixture
def box(tmp_path):
    """An empty folder for outputs."""
    folder = tmp_path / "box"
    folder.mkdir()
    return folder
