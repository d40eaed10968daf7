"""Every example runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2e_support import environment
from media_factory import describe, write_clip

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

FFMPEG = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from media_factory import y4m_bytes
if sys.argv[-1] == "-":  # decode to the pipe
    sys.stdout.buffer.write(y4m_bytes(frames=4))
else:  # encode from the pipe; here: keep it
    open(sys.argv[-1], "wb").write(sys.stdin.buffer.read())
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH has this upframe, this Python, and an ffmpeg."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "upframe": f'#!/bin/sh\nexec {sys.executable} -m upframe "$@"\n',
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }
    if shutil.which("ffmpeg") is None:
        scripts["ffmpeg"] = FFMPEG
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return environment(PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


def _run(tools: dict[str, str], folder: Path, *command: object) -> str:
    done = subprocess.run(
        [*map(str, command)], env=tools, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_is_listed_and_tested() -> None:
    files = {p.name for p in EXAMPLES.iterdir() if p.suffix in (".py", ".sh")}
    listed = (EXAMPLES / "README.md").read_text()
    tests = Path(__file__).read_text()
    for name in files:
        assert f"({name})" in listed
        assert f'"{name}"' in tests
    assert len(files) == 4


def test_python_api(tmp_path: Path, tools: dict[str, str]) -> None:
    write_clip(tmp_path / "clip.mp4", frames=3, size=(48, 32))
    command = ("python", EXAMPLES / "python_api.py", "clip.mp4", "large.mp4")
    said = _run(tools, tmp_path, *command)
    assert "mia-vsr-s " in said
    assert "3 frames, 192x128" in said
    assert "5 frames of 256x144" in said
    assert describe(tmp_path / "large.mp4").numbers == [0, 1, 2]


def test_stream_opencv(tmp_path: Path, tools: dict[str, str]) -> None:
    pytest.importorskip("cv2")
    write_clip(tmp_path / "clip.mp4", frames=4, size=(48, 32))
    command = ("python", EXAMPLES / "stream_opencv.py", "clip.mp4", "-o", "large.mp4")
    assert "4 frames" in _run(tools, tmp_path, *command)
    large = describe(tmp_path / "large.mp4")
    assert large.numbers == list(range(4))
    assert large.size == (192, 128)


def test_ffmpeg_pipes(tmp_path: Path, tools: dict[str, str]) -> None:
    write_clip(tmp_path / "clip.mp4", frames=4, size=(48, 32))
    _run(tools, tmp_path, EXAMPLES / "ffmpeg_pipes.sh", "clip.mp4", "large.mkv")
    # the stand-in keeps Y4M under any name, and every reader looks inside
    large = describe(tmp_path / "large.mkv")
    assert large.numbers == list(range(4))
    assert large.size == (192, 128)


def test_train_on_your_folder(tmp_path: Path, tools: dict[str, str]) -> None:
    (tmp_path / "own").mkdir()
    random = np.random.default_rng(2)
    for number in range(2):
        pixels = random.integers(0, 256, (160, 176, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "own" / f"{number}.png")
    write_clip(tmp_path / "own" / "a.mp4", frames=4, size=(144, 160))
    write_clip(tmp_path / "clip.mp4", frames=2, size=(32, 32))
    settings = ("optimiser.steps=1", "data.batch=1", "data.frames=2", "data.patch=16")
    _run(
        tools,
        tmp_path,
        *(EXAMPLES / "train_on_your_folder.sh", "own", "clip.mp4", "large.mp4"),
        *(word for setting in settings for word in ("--set", setting)),
    )
    assert describe(tmp_path / "large.mp4").numbers == [0, 1]
    log = (tmp_path / "runs" / "mia-vsr-xs" / "log.jsonl").read_text()
    assert "mia-vsr-xs" in log
