"""Time per frame of models on one frame size, taken in turns in one run.

    python benchmarks/speed.py [--model ditn-s --model bicubic] [--size 180x144]
                               [--threads 2] [--rounds 15]

Each round runs every model and runtime once, so that a machine that slows down slows
all of them; the median over the rounds counts. Quote ratios: absolute times move with
the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from upframe.engine.models import resolve_model
from upframe.planning.sizes import parse_wh
from upframe.runtimes.registry import open_runtime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="append")
    parser.add_argument("--size", default="180x144")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    width, height = parse_wh(arguments.size)
    frame = np.random.default_rng(0).random((height, width, 3), np.float32)
    runs = {}
    for name in arguments.model or ["bicubic", "lanczos", "ditn-s"]:
        model = resolve_model("balanced", name)
        kinds = ["onnx"] if "onnx" in model.files else []
        kinds += ["torch"] if {"safetensors", "pth"} & set(model.files) else []
        for kind in kinds or ["auto"]:
            runtime = open_runtime(
                model.card, model.files, runtime=kind, threads=arguments.threads
            )
            runs[f"{model.card.name} {runtime.name}"] = runtime.session()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(-2, arguments.rounds):
        for name, session in runs.items():
            began = time.perf_counter()
            session.push(frame)
            if round_number >= 0:
                times[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in times.items()}
    base = next(iter(median))
    print(
        json.dumps(
            {
                "input": [height, width],
                "threads": arguments.threads,
                "ms_per_frame": {k: round(v * 1e3, 2) for k, v in median.items()},
                f"ratio_to_{base}": {
                    k: round(v / median[base], 2) for k, v in median.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
