"""What every claim is measured with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from benchmarks.diffusion.findings import Finding, at_most
from benchmarks.diffusion.footage import (
    Eyes,
    Footage,
    Pictures,
    motion_error,
    over_clips,
    warping,
)
from benchmarks.diffusion.weights import Weights

from upframe.errors import RuntimeFailure

Restore = Callable[[Footage], Pictures]


@dataclass(frozen=True)
class Bench:
    """Clips, weights, and how much is measured."""

    footage: Sequence[Footage]
    weights: Weights
    rounds: int = 2
    """Runs that count where time is measured."""
    timed: int = 2
    """Frames of the first clip in each of them."""
    long: tuple[int, int] = (24, 240)
    """Frames of the videos whose memory is compared."""
    eyes: Eyes = field(default_factory=Eyes)

    @property
    def clips(self) -> str:
        """For protocols."""
        low, names = self.footage[0].low, ", ".join(one.name for one in self.footage)
        height, width = low.shape[-2:]
        return (
            f"{low.shape[1]} frames of {names}, the middle {width}x{height} of their "
            "low resolution"
        )

    def temporal(self, restore: Restore) -> dict[str, float]:
        """Scores of one way to restore, over all clips."""
        results = [(restore(one), one) for one in self.footage]
        return {
            "E\\*warp": over_clips([warping(*pair) for pair in results]),
            "tOF": over_clips([motion_error(*pair) for pair in results]),
            "LPIPS": fmean(self.eyes.lpips(*pair) for pair in results),
        }


def memory(bench: Bench, name: str) -> Finding:
    """Peak of the command line with a long video against a short one."""
    source = bench.weights.source(name)
    short, long = bench.long
    script = Path(__file__).resolve().parents[1] / "memory.py"
    command = [
        *(sys.executable, str(script), "--model", source, "--size", "64x48"),
        *("--frames", str(short), str(long)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeFailure(
            f"benchmarks/memory.py failed: {said[-1]}", "Run it alone."
        )
    peaks: Mapping[str, float] = json.loads(done.stdout)["peak_mb"]
    ratio = peaks[str(long)] / peaks[str(short)]
    return Finding(
        f"{name}: memory does not grow with the video",
        f"upframe on a corner of the demo clip, 64x48, {short} and {long} frames, each "
        "in a process of its own; peak resident memory, interpreter included",
        {f"{count} frames": {"MB": peak} for count, peak in peaks.items()},
        [at_most(f"{long} frames over {short}", ratio, 1.1, " times")],
    )
