"""Upscale a file, then frames of your own.

python examples/python_api.py clip.mp4 large.mp4
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import upframe


def show_models() -> None:
    """Print what can be named as ``model``."""
    for card in upframe.list_models():
        print(f"{card.name:20} x{card.scale}  {card.summary}")


def upscale_file(source: Path, target: Path) -> None:
    """Upscale a video with a progress line; errors say what to do."""

    def progress(now: upframe.Progress) -> None:
        print(f"\r{now.done} of {now.total} frames", end="", file=sys.stderr)

    try:
        report = upframe.upscale(
            source, target, preset="fast", overwrite=True, progress=progress
        )
    except upframe.UpframeError as error:
        raise SystemExit(f"{error.message} {error.advice}") from error
    print(f"\n{report.frames_out} frames, {report.width}x{report.height}")
    for warning in report.warnings:
        print("note:", warning)


def upscale_frames() -> None:
    """Push (H, W, 3) uint8 frames; results come a few frames later."""
    frames = np.random.default_rng(0).integers(0, 256, (5, 36, 64, 3), np.uint8)
    results = []
    with upframe.Upscaler(preset="fast") as upscaler:
        for frame in frames:
            results += upscaler.push(frame)
        results += upscaler.flush()
    print(f"{len(results)} frames of {results[0].shape[1]}x{results[0].shape[0]}")


if __name__ == "__main__":
    show_models()
    upscale_file(Path(sys.argv[1]), Path(sys.argv[2]))
    upscale_frames()
