"""What the engine costs beyond the network: a whole run against the bare network.

    python benchmarks/engine_overhead.py [--model ditn-s] [--frames 300] [--rounds 3]

Decoding, conversion, queues, scene detection, encoding (H.264, default options),
journal, join and verification are all inside; the clip is generated, 180x144. Runs
alternate, network first, and the ratio of each pair is printed with the median, by
the clock and by CPU time of the whole process; the second is steadier on a machine
that others use too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from clips import looped_demo

import upframe
from upframe.engine.convert import as_float
from upframe.engine.models import resolve_model
from upframe.media.source import FileSource
from upframe.runtimes.registry import open_runtime


def bare(model: str, clip: Path, threads: int | None) -> tuple[float, float]:
    """Wall and CPU seconds per frame of the network alone, on the clip's frames."""
    chosen = resolve_model("balanced", model)
    runtime = open_runtime(chosen.card, chosen.files, threads=threads)
    frames = [as_float(frame.pixels) for frame in FileSource(clip)]
    session = runtime.session()
    session.push(frames[0])
    began, worked = time.perf_counter(), time.process_time()
    for frame in frames:
        session.push(frame)
    wall, cpu = time.perf_counter() - began, time.process_time() - worked
    return wall / len(frames), cpu / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="ditn-s")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = looped_demo(arguments.frames, folder)
        for _ in range(arguments.rounds):
            wall, cpu = bare(arguments.model, clip, arguments.threads)
            worked = time.process_time()
            report = upframe.upscale(
                clip,
                folder / "out.mp4",
                model=arguments.model,
                threads=arguments.threads,
                overwrite=True,
                fresh=True,
            )
            rows.append(
                {
                    "network_ms": 1e3 * wall,
                    "engine_ms": 1e3 * report.seconds / report.frames_out,
                    "network_cpu_ms": 1e3 * cpu,
                    "engine_cpu_ms": 1e3
                    * (time.process_time() - worked)
                    / report.frames_out,
                }
            )
    wall_ratios = [row["engine_ms"] / row["network_ms"] for row in rows]
    cpu_ratios = [row["engine_cpu_ms"] / row["network_cpu_ms"] for row in rows]
    result = {
        "model": arguments.model,
        "frames": arguments.frames,
        "rounds": [{k: round(v, 2) for k, v in row.items()} for row in rows],
        "wall_ratio_median": round(statistics.median(wall_ratios), 3),
        "cpu_ratio_median": round(statistics.median(cpu_ratios), 3),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
