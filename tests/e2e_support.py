"""What the end-to-end tests share: running upframe, and comparing two files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import upframe
from media_factory import Described, describe

FAST = "bicubic"
HALF_MILLISECOND = Fraction(1, 2000)


def upscale(src: Path, dst: Path, **options: Any) -> upframe.Report:
    """``upframe.upscale`` with a plain resampler twice as large, unless told else."""
    return upframe.upscale(src, dst, **{"model": FAST, "scale": 2, **options})


def both(src: Path, dst: Path, **options: Any) -> tuple[Described, Described]:
    """Upscale and describe input and output."""
    upscale(src, dst, **options)
    return describe(src), describe(dst)


# ------------------------------------------------------------------------ command line


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines; fails when a line is none."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def done(self) -> dict[str, Any]:
        """The last JSON line, which must be ``done``."""
        event = self.events[-1]
        assert event["event"] == "done"
        return event


class InProcess:
    """Runs the command line in this process, as fast as a function call."""

    def __init__(self, monkeypatch: Any, capsys: Any) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ran:
        from upframe.cli import main as entry

        self._monkeypatch.setattr(sys, "argv", ["upframe", *map(str, arguments)])
        self._monkeypatch.setattr("signal.signal", lambda *_: None)
        self._capsys.readouterr()
        code: Any = 0
        try:
            entry.main()
        except SystemExit as exc:
            code = exc.code
        captured = self._capsys.readouterr()
        return Ran(int(code or 0), captured.out, captured.err)


def command(*arguments: object) -> list[str]:
    """The command as an argument list for a process of its own."""
    return [sys.executable, "-m", "upframe", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with few threads and no colour."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **more}


def run(*arguments: object, **options: Any) -> Ran:
    """Run the command in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        timeout=120,
        env=environment(),
        check=False,
        **options,
    )
    return Ran(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


# ------------------------------------------------------------------------- comparing


def assert_same_times(
    got: Sequence[Fraction | None], want: Sequence[Fraction | None], what: Described
) -> None:
    """Exactly equal; within the rounding of Matroska's milliseconds there."""
    assert len(got) == len(want)
    matroska = "matroska" in what.format
    for mine, theirs in zip(got, want, strict=True):
        assert mine is not None
        assert theirs is not None
        coarse = matroska and (theirs * 1000).denominator != 1
        assert abs(mine - theirs) <= (HALF_MILLISECOND if coarse else 0), (mine, theirs)


def assert_kept(
    src: Described, out: Described, *, scale: Fraction | float = 2, frames: bool = True
) -> None:
    """The invariants of every video: frames, times, size, shape, colour tags."""
    if frames:
        assert out.numbers == src.numbers
    assert len(out.frames) == len(src.frames)
    assert_same_times(out.times, src.times, out)
    assert {f.size for f in out.frames} == {
        (round(src.size[0] * scale), round(src.size[1] * scale))
    }
    assert out.sar == src.sar
    assert out.rotation == src.rotation


def assert_same_colours(src: Described, out: Described, tolerance: float = 2) -> None:
    """Flat patches have the same mean colour in every frame, by each file's tags."""
    error = np.abs(out.patches[..., :3] - src.patches[..., :3]).max()
    assert error <= tolerance, error


def assert_same_pictures(one: Described, other: Described) -> None:
    """Frame for frame the same times and the same decoded pixels."""
    assert one.times == other.times
    assert one.numbers == other.numbers
    for index, (a, b) in enumerate(zip(one.frames, other.frames, strict=True)):
        assert np.array_equal(a.image, b.image), f"frame {index} differs"


def leftovers(folder: Path, *expected: Path) -> list[str]:
    """Names in a folder besides those expected."""
    names = {p.name for p in expected}
    return sorted(p.name for p in folder.iterdir() if p.name not in names)


def assert_complains(ran: Ran, *words: str, code: int | tuple[int, ...] = 1) -> None:
    """One clear sentence with advice on standard error, no traceback."""
    codes = (code,) if isinstance(code, int) else code
    assert ran.code in codes, ran
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err, ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith("upframe:")]
    assert len(lines) == 1, ran.err
    message = lines[0]
    assert message.rstrip().endswith((".", ")", "--help")), message
    assert message.count(". ") >= 1, f"no advice in: {message}"
    for word in words:
        assert word.lower() in message.lower(), message
    if ran.out:
        assert all(json.loads(line) for line in ran.out.splitlines())


def tags(described: Described) -> Mapping[str, str]:
    """Metadata of the file with lower-case keys."""
    return {k.lower(): v for k, v in described.metadata.items()}
