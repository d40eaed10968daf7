"""The README's commands run; ``test_docs.py`` checks its links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from e2e_support import run
from media_factory import write_clip

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def _commands() -> list[str]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def test_the_two_commands_are_make_targets_that_ci_runs():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    ci = (ROOT / ".ci" / "run").read_text()
    makes = [line for line in _commands() if line.startswith("make ")]
    assert makes == ["make demo", "make test"]
    for line in makes:
        assert line.split()[1] in targets
        assert line in ci


@pytest.mark.parametrize(
    "line", [line for line in _commands() if line.startswith("upframe ")]
)
def test_commands_run(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", frames=4, size=(32, 32))
    words = shlex.split(line)[1:]
    ran = run(*words)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("code", _blocks("python"))
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", frames=2, size=(32, 32))
    exec(compile(code, "README.md", "exec"), {})
