"""What the engine costs beyond the network: a whole run against the bare network.

    python benchmarks/engine_overhead.py [--model ditn-s] [--frames 150] [--rounds 3]

Decoding, conversion, queues, scene detection, encoding (H.264, default options),
journal, join and verification are all inside; the clip is generated, 180x144. Runs
alternate, network first, and the ratio of each pair is printed with the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from clips import looped_demo

import upframe
from upframe.engine.models import resolve_model
from upframe.engine.stepper import as_float
from upframe.media.source import FileSource
from upframe.runtimes.make import open_runtime


def bare(model: str, clip: Path, threads: int | None) -> float:
    """Seconds per frame of the network alone, on the clip's frames."""
    chosen = resolve_model("balanced", model)
    runtime = open_runtime(chosen.card, chosen.files, threads=threads)
    frames = [as_float(frame.pixels) for frame in FileSource(clip)]
    session = runtime.session()
    session.push(frames[0])
    began = time.perf_counter()
    for frame in frames:
        session.push(frame)
    return (time.perf_counter() - began) / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="ditn-s")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    ratios, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = looped_demo(arguments.frames, folder)
        for _ in range(arguments.rounds):
            network = bare(arguments.model, clip, arguments.threads)
            report = upframe.upscale(
                clip,
                folder / "out.mp4",
                model=arguments.model,
                threads=arguments.threads,
                overwrite=True,
                fresh=True,
            )
            whole = report.seconds / report.frames_out
            ratios.append(whole / network)
            rows.append({"network_ms": network * 1e3, "engine_ms": whole * 1e3})
    print(
        json.dumps(
            {
                "model": arguments.model,
                "frames": arguments.frames,
                "rounds": [{k: round(v, 2) for k, v in row.items()} for row in rows],
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_range": [round(float(np.min(ratios)), 3),
                                round(float(np.max(ratios)), 3)],
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
