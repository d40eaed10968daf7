"""Whether making batches keeps up with training on them.

    OMP_NUM_THREADS=1 python benchmarks/loader.py --photographs DIR [--videos DIR]
        [--recipe recipes/ditn-s.yaml --recipe recipes/mia-vsr-xs.yaml]
        [--workers 0 --workers 1 --workers 2] [--steps 20] [--clips 60]

First, what a core makes: clips per second of CPU time for each source and
degradation, so it holds on a busy machine too. Then, for each recipe, what a run sees:
samples per second by the clock with so many worker processes, the time of a step whose
batch is at hand, and the share of its time for which a run waits for batches. Caches
are built first, the start of the workers is not counted. ``steps_per_s_fed`` is how
many steps a device could do before it starved; ``batch_cpu_ms`` and ``step_cpu_ms``
are CPU time, which others on the machine change little; ``step_gflop`` is the
arithmetic of a step, forward and backward, as torch counts it, and ``gflop_per_cpu_s``
how fast it is done: a core of this machine gives 85 in a large matrix product.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from upframe.datasets.clips import ClipCache
from upframe.datasets.pairs import PairCache
from upframe.datasets.temporal import TemporalData
from upframe.degradations.ranges import BDConfig, BIConfig, RealConfig
from upframe.degradations.web import WebConfig
from upframe.training.batches import Samples, batches
from upframe.training.networks import scale_of
from upframe.training.recipe import Recipe, load_recipe
from upframe.training.trainer import Trainer

_KINDS = {
    "bi": BIConfig(),
    "bd": BDConfig(),
    "real": RealConfig(),
    "real, walking": RealConfig(temporal="walk"),
    "web": WebConfig(),
}
_AHEAD = 8
"""Steps before counting: workers start, and what they have made ahead is used up."""

_ALONE = 64
"""Batches of the rate without training; many more than are kept ready."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--recipe", type=Path, action="append", default=[])
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(
        int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads()))
    )
    result: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "a core": _rates(arguments),
    }
    for path in arguments.recipe:
        recipe = _recipe(path, arguments)
        result[recipe.name] = _run(
            recipe, arguments.workers or [0, 1, 2], arguments.steps
        )
    print(json.dumps(result, indent=1))


def _rates(arguments: argparse.Namespace) -> dict[str, object]:
    """Of clips of 6 frames of 128x128 from 32x32."""
    pairs = PairCache.build(arguments.photographs, arguments.cache, 4, 32)
    videos = arguments.videos and ClipCache.build(arguments.videos, arguments.cache)
    sources = {"photographs": TemporalData(pairs)}
    if videos:
        sources["videos"] = TemporalData(pairs, videos, video_share=1.0)
        sources["mixed"] = TemporalData(pairs, videos)
    rates = {}
    for source, data in sources.items():
        for name, degradation in _KINDS.items():
            chosen = TemporalData(
                pairs, data.videos, data.video_share, data.motion, degradation
            )
            cpu = time.process_time()
            for seed in range(arguments.clips):
                chosen.sample(np.random.default_rng(seed), 1, 6, 32)
            cpu = time.process_time() - cpu
            rates[f"{source}, {name}"] = round(arguments.clips / cpu, 1)
    return {"clips_per_cpu_s": rates}


def _recipe(path: Path, arguments: argparse.Namespace) -> Recipe:
    """With the data of the command, and weights that start at random."""
    recipe = load_recipe(path)
    data = {"train": arguments.photographs, "cache": arguments.cache}
    if recipe.data.videos is not None:
        data["videos"] = arguments.videos
    return recipe.model_copy(
        update={"init": None, "data": recipe.data.model_copy(update=data)}
    )


def _run(recipe: Recipe, workers: list[int], steps: int) -> dict[str, object]:
    data = recipe.data
    samples = Samples(data, scale_of(recipe.system), recipe.seed)
    trainer = Trainer(recipe)
    batch = samples[0]
    numbers = itertools.count(1)
    made, made_cpu = _median(lambda: samples[next(numbers)], 12)
    step, step_cpu = _median(lambda: trainer.train_step(batch), 6)
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(batch)
    gflop = counter.get_total_flops() / 1e9
    seen: dict[str, object] = {
        "low": list(batch.low.shape),
        "batch_ms": made,
        "batch_cpu_ms": made_cpu,
        "step_ms": step,
        "step_cpu_ms": step_cpu,
        "step_gflop": round(gflop, 1),
        "gflop_per_cpu_s": round(1e3 * gflop / step_cpu, 1),
    }
    for count in workers:
        alone, _ = _go(samples, count, _ALONE, None)
        wall, waited = _go(samples, count, steps, trainer)
        seen[f"{count} workers"] = {
            "samples_per_s": round(data.batch * _ALONE / alone, 1),
            "steps_per_s_fed": round(_ALONE / alone, 2),
            "run_steps_per_s": round(steps / wall, 2),
            "waits": round(waited / wall, 3),
        }
    return seen


def _median(call: Callable[[], object], count: int) -> tuple[float, float]:
    """Milliseconds of a call by the clock and of CPU time; the first of the calls
    does not count."""
    walls, cpus = [], []
    for _ in range(1 + count):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (time.process_time() - cpu))
    return round(median(walls[1:]), 1), round(median(cpus[1:]), 1)


def _go(
    samples: Samples, workers: int, steps: int, trainer: Trainer | None
) -> tuple[float, float]:
    """Seconds of so many steps, and how many of them were waiting for a batch."""
    stream = batches(samples, 0, _AHEAD + steps, workers=workers)
    for _ in range(_AHEAD):
        batch = next(stream)
        if trainer is not None:
            trainer.train_step(batch)
    waited = 0.0
    begin = time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(stream)
        waited += time.perf_counter() - asked
        if trainer is not None:
            trainer.train_step(batch)
    return time.perf_counter() - begin, waited


if __name__ == "__main__":
    main()
