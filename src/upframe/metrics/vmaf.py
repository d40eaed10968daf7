"""VMAF of a clip, through an ffmpeg that has libvmaf.

VMAF is Netflix's (Li et al. 2016); its library is in some builds of ffmpeg and in no
Python package that we would depend on. Frames are handed over losslessly as RGB and
converted by ffmpeg to 8-bit 4:2:0 of BT.709 in studio range. The model is the library's
default, vmaf_v0.6.1: a 1080p image seen from three times its height. Smaller clips
are not upscaled first, so their scores mean less than their differences.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from upframe.errors import RuntimeFailure, UsageError

_LOG = "vmaf.json"
_CONVERT = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"


def find_ffmpeg() -> str:
    """Path of the ffmpeg that has libvmaf.

    Raises:
        UsageError: there is none on ``PATH``, or it lacks libvmaf.
    """
    program = shutil.which("ffmpeg")
    if program is None or not _has_libvmaf(program):
        what = f"{program} has no libvmaf" if program else "there is no ffmpeg on PATH"
        raise UsageError(
            f"VMAF cannot be computed: {what}.",
            "Install a build of ffmpeg with libvmaf, or take other metrics: psnr, ssim "
            "and others need no program.",
        )
    return program


@cache
def _has_libvmaf(program: str) -> bool:
    listing = subprocess.run(
        [program, "-hide_banner", "-filters"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    ).stdout
    # " .. libvmaf           VV->V      Calculate the VMAF ..."
    return any(line.split()[1:2] == ["libvmaf"] for line in listing.splitlines())


class VMAF:
    """Scores of one clip, 0 to 100; larger is better.

    Both sides are kept in a temporary folder until :meth:`finish`, three bytes a pixel.
    """

    def __init__(self, program: str | None = None) -> None:
        """Begin a clip.

        Args:
            program: path of ffmpeg; None to look for it.

        Raises:
            UsageError: as :func:`find_ffmpeg`.
        """
        self._program = find_ffmpeg() if program is None else program
        self._stack = ExitStack()
        self._folder = Path(
            self._stack.enter_context(TemporaryDirectory(prefix="upframe-vmaf-"))
        )
        self._files = [
            self._stack.enter_context((self._folder / name).open("wb"))
            for name in ("result.rgb", "truth.rgb")
        ]
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def push(self, result: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """The next frame, twice (H, W, 3) RGB.

        Raises:
            ValueError: sizes differ, or are not those of the frames before.
        """
        if result.shape != truth.shape or self._shape not in (None, result.shape):
            raise ValueError(
                f"sizes differ: {result.shape}, {truth.shape}, before {self._shape}"
            )
        self._shape = result.shape
        self._count += 1
        for file, frame in zip(self._files, (result, truth), strict=True):
            file.write(np.ascontiguousarray(frame).data)

    def finish(self) -> list[float]:
        """Scores of all frames; the object is used up.

        Raises:
            RuntimeFailure: ffmpeg fails, or scores another number of frames.
        """
        with self._stack:
            if self._shape is None:
                return []
            for file in self._files:
                file.close()
            return self._run(*self._shape[:2])

    def close(self) -> None:
        """Drop the clip, if it is not finished."""
        self._stack.close()

    def _run(self, height: int, width: int) -> list[float]:
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        raw += ["-r", "25", "-i"]
        inputs = [*raw, "result.rgb", *raw, "truth.rgb"]
        quiet = ["-hide_banner", "-nostdin", "-loglevel", "error"]
        graph = f"[0:v]{_CONVERT}[a];[1:v]{_CONVERT}[b];"
        # The first input is the one that is scored.
        graph += f"[a][b]libvmaf=log_fmt=json:log_path={_LOG}"
        done = subprocess.run(
            [self._program, *quiet, *inputs, "-lavfi", graph, "-f", "null", "-"],
            cwd=self._folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        try:
            content = json.loads((self._folder / _LOG).read_text(encoding="utf-8"))
            frames = sorted(content["frames"], key=lambda frame: frame["frameNum"])
            scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError, TypeError) as error:
            lines = done.stderr.strip().splitlines()
            raise RuntimeFailure(
                f"ffmpeg gave no VMAF: {lines[-1] if lines else error!r}.",
                f"Check {self._program} and its libvmaf.",
            ) from error
        if done.returncode or len(scores) != self._count:
            raise RuntimeFailure(
                f"ffmpeg scored {len(scores)} of {self._count} frames and ended with "
                f"{done.returncode}.",
                f"Check {self._program} and its libvmaf.",
            )
        return scores
