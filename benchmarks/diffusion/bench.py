"""What every claim is measured with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from benchmarks.diffusion.clips import (
    CroppedClip,
    Frames,
    Perceptual,
    by_source,
    motion_error,
    over_pairs,
    warping,
)
from benchmarks.diffusion.report import LEAST, Result, Samples, ratio_at_most
from benchmarks.diffusion.weights import Weights

from upframe.errors import RuntimeFailure
from upframe.evaluation.bench import times_in_turns

Restore = Callable[[CroppedClip], Frames]
Scores = dict[str, Samples]
"""Column to clip to score."""

MARGINS: Mapping[str, float] = {
    "LPIPS": 0.005,
    "DISTS": 0.005,
    "tOF": 0.05,
    "E\\*warp": 0.05,
}
"""What a score may lose and still count as no worse."""


@dataclass(frozen=True)
class Bench:
    """Clips, weights, and how much is measured."""

    clips: Sequence[CroppedClip]
    weights: Weights
    rounds: int = LEAST
    """Runs that count where time is measured."""
    timed: int = 2
    """Frames of the first clip in each of them."""
    long: tuple[int, int] = (24, 240)
    """Frames of the videos whose memory is compared."""
    perceptual: Perceptual = field(default_factory=Perceptual)

    @property
    def described(self) -> str:
        """The clips, for protocols."""
        low, names = self.clips[0].low, ", ".join(one.name for one in self.clips)
        height, width = low.shape[-2:]
        return (
            f"{low.shape[1]} frames of {names}, the middle {width}x{height} of their "
            "low resolution"
        )

    def scored(self, results: Sequence[Frames], *columns: str) -> Scores:
        """Scores of restored clips, in the order of the clips.

        Args:
            results: of all clips.
            columns: of E\\*warp, tOF, LPIPS, DISTS.
        """
        return self.scored_parts(self.clips, results, *columns)

    def scored_parts(
        self, clips: Sequence[CroppedClip], results: Sequence[Frames], *columns: str
    ) -> Scores:
        """As :meth:`scored`, for parts of the clips."""
        metrics: Mapping[str, Callable[[Frames, CroppedClip], float]] = {
            "E\\*warp": lambda *pair: over_pairs(warping(*pair)),
            "tOF": lambda *pair: over_pairs(motion_error(*pair)),
            "LPIPS": self.perceptual.lpips,
            "DISTS": self.perceptual.dists,
        }
        return {
            column: by_source(
                clips, lambda n, score=metrics[column]: score(results[n], clips[n])
            )
            for column in columns
        }

    def temporal(self, restore: Restore) -> Scores:
        """E\\*warp, tOF and LPIPS of one way to restore."""
        results = [restore(one) for one in self.clips]
        return self.scored(results, "E\\*warp", "tOF", "LPIPS")

    def times(self, runs: Mapping[str, Callable[[], object]]) -> dict[str, Samples]:
        """Name of a run to round to seconds; all take turns."""
        taken = times_in_turns(list(runs.values()), self.rounds)
        return {
            name: {str(number): t for number, t in enumerate(seconds, 1)}
            for name, seconds in zip(runs, taken, strict=True)
        }


def means(scores: Mapping[str, Samples]) -> dict[str, float]:
    """A row of a table: column to the mean over its samples."""
    return {column: fmean(values.values()) for column, values in scores.items()}


def memory(bench: Bench, name: str) -> Result:
    """Peak of the command line with a long video against a short one."""
    source = bench.weights.source(name)
    peaks: dict[int, dict[str, float]] = {count: {} for count in bench.long}
    for number in range(bench.rounds):
        for count, peak in _peaks(source, bench.long).items():
            peaks[count][str(number)] = peak
    short, long = bench.long
    return Result(
        f"{name}: memory does not grow with the video",
        f"upframe on a corner of the demo clip, 64x48, {short} and {long} frames, each "
        f"in a process of its own, {bench.rounds} rounds; peak resident memory, "
        "interpreter included",
        {f"{n} frames": {"MB": fmean(v.values())} for n, v in peaks.items()},
        [ratio_at_most(f"{long} frames over {short}", peaks[long], peaks[short], 1.1)],
    )


def _peaks(source: str, lengths: tuple[int, int]) -> dict[int, float]:
    script = Path(__file__).resolve().parents[1] / "memory.py"
    command = [
        *(sys.executable, str(script), "--model", source, "--size", "64x48"),
        *("--frames", *map(str, lengths)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeFailure(
            f"benchmarks/memory.py failed: {lines[-1]}", "Run it alone."
        )
    peaks: Mapping[str, float] = json.loads(done.stdout)["peak_mb"]
    return {count: peaks[str(count)] for count in lengths}
