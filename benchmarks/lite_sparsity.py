"""What skipping saves in MIA-VSR lite, and what it costs: one run, in turns.

    python -m benchmarks.lite_sparsity [--model mia-vsr-xs] [--size 180x144]
                                       [--rounds 8] [--threads 2] [--torch]
                                       [--clock cpu] [--data DIR]

Time: sessions of ONNX Runtime with keep ratios, in float and in int8, and of torch if
asked, get the same frames one by one; each round gives every session one frame. The
moving clip slides over a texture by a pixel a frame; in ``corner`` a sixteenth of the
frame moves. Prints the median time per frame, and how much faster it is than computing
everything in the same runtime and precision; the frames until a scene is static are not
counted. On a shared machine only the ratios mean anything, and on a busy one only those
of CPU time with one thread.

Static scenes: ``--rounds`` frames of one image and of one whose corner moves, at the
default keep ratio, in both precisions. Prints the lowest PSNR of a frame to the same
network computing everything, in dB of all channels, and the time of the whole scene
with its first frames. The image is the first frame of ``--data``, else the texture.

With ``--data``, a folder with ``gt/<clip>/``: PSNR-Y of its clips in both precisions,
and what a keep ratio and int8 lose of it against computing everything in float.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.images import read_image
from upframe.engine.models import Model, resolve_model
from upframe.evaluation.evaluate import evaluate
from upframe.export.onnx import export_recurrent
from upframe.nn.resize import imresize
from upframe.planning.sizes import parse_wh
from upframe.runtimes.base import Session
from upframe.runtimes.registry import open_runtime
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.weights.loading import load

Clip = NDArray[np.float32]
"""(frames, h, w, 3) in [0, 1]."""

_REST = 6
"""Frames until a still scene has come to rest, and a little more."""


@dataclass(frozen=True)
class Case:
    """A session to time."""

    runtime: str
    keep_ratio: float | None
    clip: str
    precision: str = "fp32"
    """In ONNX Runtime."""

    @property
    def kind(self) -> tuple[str, str]:
        """Those that are compared with one another."""
        return self.runtime, self.precision


CASES = {
    "whole": Case("onnx", 1.0, "moving"),
    "keep 0.5": Case("onnx", 0.5, "moving"),
    "keep 0.1": Case("onnx", 0.1, "moving"),
    "default, moving": Case("onnx", None, "moving"),
    "default, a corner moves": Case("onnx", None, "corner"),
    "default, still": Case("onnx", None, "still"),
    "int8, whole": Case("onnx", 1.0, "moving", "int8"),
    "int8, keep 0.5": Case("onnx", 0.5, "moving", "int8"),
    "int8, keep 0.1": Case("onnx", 0.1, "moving", "int8"),
    "int8, default, a corner moves": Case("onnx", None, "corner", "int8"),
    "int8, default, still": Case("onnx", None, "still", "int8"),
    "torch, whole": Case("torch", 1.0, "moving"),
    "torch, keep 0.5": Case("torch", 0.5, "moving"),
    "torch, keep 0.1": Case("torch", 0.1, "moving"),
}


def clips(frames: int, width: int, height: int) -> dict[str, Clip]:
    """By name: a texture that moves, all of it, its corner, or not at all."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (height, width + frames, 3)).astype(np.float32)
    wide = levels / np.float32(255)
    moving = np.stack([wide[:, i : i + width] for i in range(frames)])
    return {"moving": moving, **scenes(wide, frames, width)}


def scenes(wide: NDArray[np.float32], frames: int, width: int) -> dict[str, Clip]:
    """Of an image (h, more than width, 3): a static scene, and a moving corner."""
    height = wide.shape[0] // 4
    still = np.repeat(wide[None, :, :width], frames, axis=0)
    corner = still.copy()
    for i, frame in enumerate(corner):
        at = i % (wide.shape[1] - width // 4)
        frame[:height, : width // 4] = wide[:height, at : at + width // 4]
    return {"still": still, "corner": corner}


def time_steps(
    sessions: dict[str, Session],
    cases: dict[str, Case],
    scenes_by_name: dict[str, Clip],
    clock: Callable[[], float],
) -> dict[str, float]:
    """Median seconds per frame."""
    times: dict[str, list[float]] = {title: [] for title in sessions}
    for i in range(len(scenes_by_name["moving"])):
        for title, session in sessions.items():
            frame = scenes_by_name[cases[title].clip][i]
            began = clock()
            session.push(frame)
            if i > _REST:
                times[title].append(clock() - began)
    return {title: statistics.median(spent) for title, spent in times.items()}


def compare(
    whole: Session, default: Session, clip: Clip, clock: Callable[[], float]
) -> dict[str, float]:
    """What the default gives and takes on a scene, against computing everything."""
    spent = [0.0, 0.0]
    outputs: list[list[NDArray[np.float32]]] = [[], []]
    for frame in [*clip, None]:
        for i, session in enumerate((whole, default)):
            began = clock()
            made = session.flush() if frame is None else session.push(frame)
            spent[i] += clock() - began
            outputs[i] += made
    errors = [
        float(np.square(one - other).mean())
        for one, other in zip(*outputs, strict=True)
    ]
    return {
        "frames": len(clip),
        "psnr_to_whole": round(-10 * np.log10(max(max(errors), 1e-12)), 1),
        "faster_than_whole": round(spent[0] / spent[1], 2),
    }


def first_frame(data: Path) -> NDArray[np.float32]:
    """(h, w, 3): the first frame of a folder's first clip, shrunk."""
    path = min(p for p in (data / "gt").glob("*/*") if p.is_file())
    small = imresize(read_image(path) / 255, scale=1 / 4).clip(0, 1)
    levels: NDArray[np.float32] = np.rint(small * 255).astype(np.float32)
    return levels / np.float32(255)


def loss(model: Model, data: Path, threads: int) -> dict[str, float]:
    """PSNR-Y in dB by precision and keep ratio, and what is lost of it."""
    ratios = {"default": None, "1": 1.0, "0.5": 0.5, "0.1": 0.1}
    scores = {
        f"{precision}, keep {title}": evaluate(
            model=model,
            data=data,
            protocol="vid4",
            metrics=["psnr"],
            runtime="onnx",
            threads=threads,
            keep_ratio=ratio,
            precision=precision,
        ).mean["psnr"]
        for precision in ("fp32", "int8")
        for title, ratio in ratios.items()
    }
    whole = scores["fp32, keep 1"]
    found = {f"psnr_y {k}": round(v, 3) for k, v in scores.items()}
    return found | {f"lost by {k}": round(whole - v, 3) for k, v in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mia-vsr-xs", help="name or weight file")
    parser.add_argument("--size", default="180x144")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    width, height = parse_wh(arguments.size)
    model = resolve_model("balanced", arguments.model)
    cases = {k: c for k, c in CASES.items() if arguments.torch or c.runtime == "onnx"}
    with tempfile.TemporaryDirectory() as name:
        files = dict(model.files)
        for precision, kind in (("fp32", "onnx"), ("int8", "onnx-int8")):
            if kind not in files:
                network = load(arguments.model)
                assert isinstance(network, MIAVSRLite)
                path = Path(name) / f"{precision}.onnx"
                files |= export_recurrent(network, path, precision).files
        model = Model(model.card, files, model.digest)

        def session(case: Case) -> Session:
            return open_runtime(
                model.card,
                files,
                runtime=case.runtime,
                device="cpu",
                threads=arguments.threads,
                keep_ratio=case.keep_ratio,
                precision=case.precision,
            ).session()

        median = time_steps(
            {title: session(case) for title, case in cases.items()},
            cases,
            clips(arguments.rounds + _REST + 2, width, height),
            clock,
        )
        if arguments.data is None:
            still = clips(arguments.rounds, width, height)
        else:
            wide = first_frame(arguments.data)
            still = scenes(wide, arguments.rounds, wide.shape[1] * 3 // 4)
        stands = {
            f"{precision}, {title}": compare(
                session(Case("onnx", 1.0, title, precision)),
                session(Case("onnx", None, title, precision)),
                still[title],
                clock,
            )
            for precision in ("fp32", "int8")
            for title in ("still", "corner")
        }
        quality = None
        if arguments.data is not None:
            quality = loss(model, arguments.data, arguments.threads)
    whole = {c.kind: median[t] for t, c in cases.items() if c.keep_ratio == 1.0}
    report: dict[str, object] = {
        "model": arguments.model,
        "input": [height, width],
        "threads": arguments.threads,
        "ms_per_frame": {k: round(1e3 * v, 1) for k, v in median.items()},
        "faster_than_whole": {
            k: round(whole[cases[k].kind] / v, 2) for k, v in median.items()
        },
        "int8_faster_than_fp32": {
            k: round(median[k] / median[f"int8, {k}"], 2)
            for k in median
            if f"int8, {k}" in median
        },
        "scenes_default": stands,
    }
    if quality is not None:
        report["quality"] = quality
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
