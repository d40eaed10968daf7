"""Loss of quality where a chunk begins, against the frames of context before it.

    python benchmarks/context.py --model W.ckpt [--data ../shared/data/val_video/gt]
                                 [--start 16] [--core 4] [--contexts 0 1 2 4 8 15]

A clip is restored as a whole, and from a few frames before ``start`` on. Compared are
the core frames, ``start`` and those after it: PSNR-Y to the original in both runs, and
between both. Low resolution is made by MATLAB's bicubic; all windows are computed. A
network that walks both ways gets the same context after its core. Prints JSON; means
are over the frames of all clips.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.images import list_images, read_image
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.engine.models import resolve_model
from upframe.export.onnx import export_model
from upframe.metrics.fidelity import psnr
from upframe.runtimes.base import Runtime
from upframe.runtimes.registry import open_runtime

Frames = NDArray[np.uint8]


def restored(runtime: Runtime, low: Frames, core: slice) -> Frames:
    """The core of a clip (T, h, w, 3)."""
    session = runtime.session()
    outputs = []
    for frame in low:
        outputs += session.push((frame / np.float32(255)).astype(np.float32))
    outputs += session.flush()
    return np.stack([to_uint8(frame) for frame in outputs[core]])


def opened(name: str, folder: Path, threads: int | None) -> Runtime:
    """The model; a file of MIA-VSR lite through ONNX Runtime."""
    model = resolve_model("balanced", name)
    files = dict(model.files)
    keep = None
    if model.card.lookahead is not None:
        keep = 1.0
        if "onnx" not in files:
            files |= export_model(name, folder).files
    return open_runtime(model.card, files, threads=threads, keep_ratio=keep)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, default="../shared/data/val_video/gt")
    parser.add_argument("--start", type=int, default=16)
    parser.add_argument("--core", type=int, default=4)
    parser.add_argument("--contexts", type=int, nargs="+", default=[0, 1, 2, 4, 8, 15])
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    start, stop = arguments.start, arguments.start + arguments.core
    to_truth: dict[int, list[float]] = {n: [] for n in arguments.contexts}
    to_whole: dict[int, list[float]] = {n: [] for n in arguments.contexts}
    with tempfile.TemporaryDirectory() as name:
        runtime = opened(arguments.model, Path(name), arguments.threads)
        both_ways = runtime.card.lookahead is None
        for clip in sorted(p for p in arguments.data.iterdir() if p.is_dir()):
            pictures = list_images(clip)
            if not both_ways:
                pictures = pictures[: stop + 1]
            truth = np.stack(
                [crop_to_multiple(read_image(path), 4) for path in pictures]
            )
            low = bicubic_down(truth, 4)
            whole = restored(runtime, low, slice(start, stop))
            for context in arguments.contexts:
                first = max(0, start - context)
                last = stop + (context if both_ways else 1)
                core = slice(start - first, stop - first)
                made = restored(runtime, low[first:last], core)
                for i in range(arguments.core):
                    reference = truth[start + i]
                    loss = psnr(whole[i], reference) - psnr(made[i], reference)
                    to_truth[context].append(loss)
                    to_whole[context].append(min(99.0, psnr(made[i], whole[i])))
    print(
        json.dumps(
            {
                "model": arguments.model,
                "frames": len(next(iter(to_truth.values()))),
                "loss_db": {
                    n: round(statistics.mean(v), 4) for n, v in to_truth.items()
                },
                "worst_loss_db": {n: round(max(v), 4) for n, v in to_truth.items()},
                "psnr_to_whole_run": {
                    n: round(statistics.mean(v), 2) for n, v in to_whole.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
