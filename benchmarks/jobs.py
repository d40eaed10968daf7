"""Time of one process against several (``--jobs``), medians of alternating runs.

Usage: python benchmarks/jobs.py [--size 96x72] [--frames 240] [--jobs 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from upframe.engine.backends import local, processes
from upframe.engine.options import Options
from upframe.engine.prepare import prepare

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from media_factory import write_clip


def seconds(movie: Path, target: Path, preset: str, jobs: int, chunk: int) -> float:
    """Wall-clock time of one run, loading included."""
    options = Options(preset=preset, chunk_frames=chunk, overwrite=True, fresh=True)
    job = prepare(str(movie), str(target), options)
    began = time.perf_counter()
    if jobs == 1:
        local.run(job)
    else:
        processes.run(job, jobs)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print a line for each preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="96x72")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=30)
    parser.add_argument("--preset", action="append")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        movie, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        write_clip(movie, frames=given.frames, size=(width, height))
        for preset in given.preset or ["fast", "balanced"]:
            times: dict[int, list[float]] = {1: [], given.jobs: []}
            for _ in range(given.rounds):
                for jobs, taken in times.items():
                    taken.append(seconds(movie, target, preset, jobs, given.chunk))
            one, several = (statistics.median(taken) for taken in times.values())
            print(
                f"{preset}: {one:.1f} s, {given.jobs} jobs {several:.1f} s, "
                f"ratio {several / one:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
