"""What skipping windows saves in MIA-VSR lite: whole steps, one run, in turns.

    python benchmarks/lite_sparsity.py [--model mia-vsr-xs] [--size 180x144]
                                       [--rounds 8] [--threads 2] [--torch]
                                       [--clock processor]

Sessions of ONNX Runtime with keep ratios, and of torch if asked, get the same frames
one by one; each round gives every session one frame. The moving clip slides over a
texture by a pixel a frame; the still one repeats a frame; in ``corner`` a sixteenth of
the picture moves. A scene's first frames, before it comes to rest, are not counted.
Prints the median of the time per frame and how much faster than computing everything it
is; on a shared machine only the ratios mean anything, and on a crowded one only those
of the processor's time with one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from upframe.engine.models import resolve_model
from upframe.export.onnx import export_recurrent
from upframe.planning.sizes import parse_wh
from upframe.runtimes.make import open_runtime
from upframe.systems.mia_vsr_lite import MIAVSRLite
from upframe.weights.loading import load

_REST = 6
"""Frames until a still scene has come to rest, and a little more."""


def clips(frames: int, width: int, height: int) -> dict[str, np.ndarray]:
    """(frames, h, w, 3) of 8 bits, by name."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (height, width + frames, 3)).astype(np.float32) / 255
    moving = np.stack([wide[:, i : i + width] for i in range(frames)])
    still = np.repeat(moving[:1], frames, axis=0)
    corner = still.copy()
    corner[:, : height // 4, : width // 4] = moving[:, : height // 4, : width // 4]
    return {"moving": moving, "still": still, "corner": corner}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mia-vsr-xs", help="name or weight file")
    parser.add_argument("--size", default="180x144")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "processor" else time.perf_counter
    width, height = parse_wh(arguments.size)
    footage = clips(arguments.rounds + _REST + 2, width, height)
    model = resolve_model("balanced", arguments.model)
    with tempfile.TemporaryDirectory() as name:
        files = dict(model.files)
        if "onnx" not in files:
            network = load(arguments.model)
            assert isinstance(network, MIAVSRLite)
            files |= export_recurrent(network, Path(name) / "w.onnx").files
        cases: list[tuple[str, str, float | None, str]] = [
            ("whole", "onnx", 1.0, "moving"),
            ("keep 0.5", "onnx", 0.5, "moving"),
            ("keep 0.1", "onnx", 0.1, "moving"),
            ("default, moving", "onnx", None, "moving"),
            ("default, a corner moves", "onnx", None, "corner"),
            ("default, still", "onnx", None, "still"),
        ]
        if arguments.torch:
            cases += [
                ("torch, whole", "torch", 1.0, "moving"),
                ("torch, keep 0.1", "torch", 0.1, "moving"),
            ]
        sessions = {
            title: open_runtime(
                model.card,
                files,
                runtime=kind,
                threads=arguments.threads,
                keep_ratio=ratio,
            ).session()
            for title, kind, ratio, _ in cases
        }
        times: dict[str, list[float]] = {title: [] for title in sessions}
        for i in range(len(footage["moving"])):
            for title, _, _, clip in cases:
                began = clock()
                sessions[title].push(footage[clip][i])
                if i > _REST:
                    times[title].append(clock() - began)
    median = {title: statistics.median(spent) for title, spent in times.items()}
    print(
        json.dumps(
            {
                "model": arguments.model,
                "input": [height, width],
                "threads": arguments.threads,
                "ms_per_frame": {k: round(1e3 * v, 1) for k, v in median.items()},
                "faster_than_whole": {
                    k: round(median["whole"] / v, 2) for k, v in median.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
