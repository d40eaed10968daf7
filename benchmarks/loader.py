"""How many training clips one core makes per second, and where the time goes.

    OMP_NUM_THREADS=1 python benchmarks/loader.py --photographs DIR [--videos DIR]
        [--clips 60] [--frames 6] [--patch 32] [--scale 4] [--cache runs/cache]

One process, one thread; the caches are built first and not counted. ``cpu`` rates count
processor time, so they hold on a busy machine too; ``wall`` rates do not.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from upframe.datasets.clips import ClipCache
from upframe.datasets.pairs import PairCache
from upframe.datasets.temporal import TemporalData
from upframe.degradations.ranges import BDConfig, BIConfig, RealConfig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--scale", type=int, default=4)
    arguments = parser.parse_args()
    pairs = PairCache.build(
        arguments.photographs, arguments.cache, arguments.scale, arguments.patch
    )
    videos = arguments.videos and ClipCache.build(arguments.videos, arguments.cache)
    sources = {"photographs": TemporalData(pairs)}
    if videos:
        sources["videos"] = TemporalData(pairs, videos, video_share=1.0)
        sources["mixed"] = TemporalData(pairs, videos)
    kinds = {
        "bi": BIConfig(),
        "bd": BDConfig(),
        "real": RealConfig(),
        "real, walking": RealConfig(temporal="walk"),
    }
    result: dict[str, object] = {
        "clip": [arguments.frames, *[arguments.patch * arguments.scale] * 2],
        "videos": videos and [len(c) for c in videos.clips],
    }
    for source, data in sources.items():
        for name, degradation in kinds.items():
            chosen = TemporalData(
                pairs, data.videos, data.video_share, data.motion, degradation
            )
            cpu, wall = time.process_time(), time.perf_counter()
            for seed in range(arguments.clips):
                rng = np.random.default_rng(seed)
                chosen.sample(rng, 1, arguments.frames, arguments.patch)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            result[f"{source}, {name}"] = {
                "cpu_clips_per_s": round(arguments.clips / cpu, 1),
                "wall_clips_per_s": round(arguments.clips / wall, 1),
            }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
