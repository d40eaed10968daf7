"""VMAF through a program, which is a stand-in here but for one test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from upframe.errors import RuntimeFailure, UsageError
from upframe.metrics.vmaf import VMAF, find_ffmpeg

LISTING = """Filters:
  T.. = Timeline support
 ... libplacebo        N->V       Apply various GPU filters
 {flags} libvmaf           VV->V      Calculate the VMAF between two video streams.
"""
SCRIPT = """#!{python}
# Answers like ffmpeg 7 with libvmaf 3: what is checked is the command and the files.
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
if "-filters" in arguments:
    print({listing!r})
    sys.exit()
graph = arguments[arguments.index("-lavfi") + 1]
assert graph.endswith("[a][b]libvmaf=log_fmt=json:log_path=vmaf.json"), graph
assert graph.count("out_color_matrix=bt709:out_range=tv,format=yuv420p") == 2
assert arguments[-3:] == ["-f", "null", "-"]
inputs = [arguments[k + 1] for k, word in enumerate(arguments) if word == "-i"]
width, height = map(int, arguments[arguments.index("-s") + 1].split("x"))
size = width * height * 3
result, truth = (Path(name).read_bytes() for name in inputs)
assert len(result) == len(truth) and len(result) % size == 0
frames = []
for number in range(len(result) // size):
    at = slice(number * size, number * size + size)
    # Not symmetric: shows which side is which.
    loss = sum(truth[at]) / size - sum(result[at]) / size
    frames.append({{"frameNum": number, "metrics": {{"integer_motion": 1.0,
                   "vmaf": round(100 - loss, 6)}}}})
{fault}
log = {{"version": "3.0.0", "fps": 9.5, "frames": frames[::-1],
       "pooled_metrics": {{"vmaf": {{"min": 0, "max": 1, "mean": 2}}}}}}
Path("vmaf.json").write_text(json.dumps(log))
"""


def install(folder: Path, fault: str = "", flags: str = "..") -> None:
    listing = LISTING.format(flags=flags) if flags else "Filters:\n"
    script = SCRIPT.format(python=sys.executable, listing=listing, fault=fault)
    (folder / "ffmpeg").write_text(script)
    (folder / "ffmpeg").chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    if os.name == "nt":
        pytest.skip("a script is no program there")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def frames(value: int, count: int = 3) -> list[np.ndarray]:
    return [np.full((6, 10, 3), value + k, np.uint8) for k in range(count)]


def score(results: list[np.ndarray], truths: list[np.ndarray]) -> list[float]:
    vmaf = VMAF()
    for result, truth in zip(results, truths, strict=True):
        vmaf.push(result, truth)
    return vmaf.finish()


@pytest.mark.parametrize("flags", ["..", "...", "TS."])
def test_scores_of_every_frame_in_order(path: Path, flags: str) -> None:
    install(path, flags=flags)
    assert find_ffmpeg() == str(path / "ffmpeg")
    truths = [np.full((6, 10, 3), v, np.uint8) for v in (100, 110, 150)]
    assert score(frames(90), truths) == [90.0, 81.0, 42.0]
    assert VMAF().finish() == []


def test_says_that_there_is_no_program(path: Path) -> None:
    with pytest.raises(UsageError, match="no ffmpeg on PATH"):
        find_ffmpeg()
    install(path, flags="")
    with pytest.raises(UsageError, match="ffmpeg has no libvmaf"):
        find_ffmpeg()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("print('x\\nno such filter', file=sys.stderr); sys.exit(1)", "no such filter"),
        ("frames.pop()", "scored 2 of 3 frames"),
        ("del frames[0]['metrics']['vmaf']", "gave no VMAF: KeyError"),
    ],
)
def test_a_failing_program(path: Path, fault: str, message: str) -> None:
    install(path, fault)
    with pytest.raises(RuntimeFailure, match=message):
        score(frames(90), frames(91))


def test_nothing_stays_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    score(frames(90), frames(91))
    vmaf = VMAF()
    vmaf.push(*frames(3, 2))
    with pytest.raises(ValueError, match="sizes differ"):
        vmaf.push(np.zeros((8, 10, 3), np.uint8), np.zeros((8, 10, 3), np.uint8))
    assert list(tmp_path.glob("upframe-vmaf-*"))
    vmaf.close()
    assert not list(tmp_path.glob("upframe-vmaf-*"))


def test_the_real_program() -> None:
    try:
        find_ffmpeg()
    except UsageError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 256, (144, 176, 3), dtype=np.uint8) for _ in range(3)]
    noisy = [(t // 2 + 64).astype(np.uint8) for t in truths]
    assert min(score(truths, truths)) > 90
    assert max(score(noisy, truths)) < min(score(truths, truths))
