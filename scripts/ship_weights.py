"""Put the averaged weights of a checkpoint among the bundled models.

    python scripts/ship_weights.py runs/ditn-s/last.ckpt --recipe recipes/ditn-s.yaml

Scores the weights, refuses them if they are no better on the validation clips than the
bundled ones, then writes the graphs, ``<name>.safetensors`` and the card
``<name>.json`` to ``src/upframe/weights/files``. The export is compared with torch;
memory and work are measured.

Weights for bicubic shrinking are judged by PSNR-Y on ``val_video``. Weights whose
recipe has the degradation ``real`` are judged by LPIPS on ``--real``, which
``scripts/degrade_clips.py`` makes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from upframe.evaluation.evaluate import evaluate
from upframe.export.onnx import OnnxExport, export_onnx, export_recurrent
from upframe.systems.ditn import DITN
from upframe.systems.mia_vsr_lite import MIAVSRLite
from upframe.training.recipe import load_recipe
from upframe.weights.card import WeightFile
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.index import FILES
from upframe.weights.loading import describe_file, load


@dataclass(frozen=True)
class TestSet:
    """Something to score on."""

    name: str
    folder: Path
    protocol: str
    metrics: tuple[str, ...] = ("psnr", "ssim")


@dataclass(frozen=True)
class Judgement:
    """What makes weights better than others."""

    test_set: str
    score: str
    higher: bool

    def better(self, new: float, old: float) -> bool:
        return new > old if self.higher else new < old


FIDELITY = Judgement("val_video", "psnr_y", higher=True)
RESTORATION = Judgement("val_real", "lpips", higher=False)

# A process of its own, so that torch's memory is not counted; as the engine does it.
MEASURE = """
import json, sys
import numpy as np
from pathlib import Path
from upframe.runtimes.make import open_runtime
from upframe.weights.card import ModelCard
card = ModelCard.model_validate_json(sys.argv[1])
paths = {k: Path(v) for k, v in json.loads(sys.argv[2]).items()}
session = open_runtime(card, paths, runtime="onnx", device="cpu", threads=2).session()
def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(key))
rng = np.random.default_rng(0)
height, width = 480, 640
frames = [rng.random((height, width, 3), dtype=np.float32) for _ in range(3)]
before = memory("VmRSS")
for frame in frames:
    session.push(frame)
print((memory("VmHWM") - before) / (height * width))
"""


def measure_gflops(network: DITN | MIAVSRLite) -> float:
    """Per million input pixels and frame."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 2, 3, 128, 128))
    return round(int(counter.get_total_flops()) / 1e9 / (2 * 128 * 128) * 1e6, 1)


def entry(path: Path) -> WeightFile:
    data = path.read_bytes()
    return WeightFile(
        name=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
    )


def score(weights: Path, sets: list[TestSet]) -> dict[str, dict[str, object]]:
    """Scores for the card: test set to metrics, with the bicubic baseline beside."""
    scores: dict[str, dict[str, object]] = {}
    for test in sets:
        if not test.folder.is_dir():
            raise SystemExit(f"{test.folder} is missing: no scores, nothing shipped")
        entry: dict[str, object] = {}
        for title, model in (("", str(weights)), ("_bicubic", "bicubic")):
            report = evaluate(
                model=model,
                data=test.folder,
                protocol=test.protocol,
                metrics=test.metrics,
            )
            for metric, value in report.mean.items():
                channel = "_y" if metric in ("psnr", "ssim") else ""
                entry[f"{metric}{channel}{title}"] = round(value, 4)
        entry["clips"] = len(report.clips)
        entry["frames"] = sum(clip.frames for clip in report.clips)
        entry["settings"] = report.settings
        scores[test.name] = entry
        print(
            test.name, {k: v for k, v in entry.items() if k != "settings"}, flush=True
        )
    return scores


def export(network: torch.nn.Module, path: Path) -> OnnxExport:
    if isinstance(network, MIAVSRLite):
        return export_recurrent(network, path)
    assert isinstance(network, DITN)
    return export_onnx(network, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--real", type=Path, default=Path("runs/val_real"))
    args = parser.parse_args()

    recipe = load_recipe(args.recipe)
    name = recipe.name
    real = recipe.data.degradation.name == "real"
    judge = RESTORATION if real else FIDELITY
    sets = [
        TestSet("val_video", args.data / "val_video", "vid4"),
        TestSet("set5", args.data / "sisr/Set5", "sisr"),
        TestSet("set14", args.data / "sisr/Set14", "sisr"),
        TestSet("vid4_calendar_city", args.data / "vid4", "vid4"),
    ]
    if real:
        sets = [
            TestSet("val_real", args.real, "vid4", ("psnr", "ssim", "lpips", "ewarp"))
        ]
    steps = torch.load(args.checkpoint, map_location="cpu", weights_only=True)["step"]
    state = {
        k: v.contiguous() for k, v in read_checkpoint(args.checkpoint).state.items()
    }
    config = describe_file(args.checkpoint).config
    place = FILES / f"{name}.json"
    with tempfile.TemporaryDirectory() as draft:
        tensors = Path(draft) / f"{name}.safetensors"
        about = {"format": "pt", "config": json.dumps(config)}
        save_file(state, tensors, metadata=about)
        tensors.chmod(0o644)
        card = describe_file(tensors)
        network = load(tensors)
        exported = export(network, Path(draft) / f"{name}.onnx")
        paths = {**exported.files, "safetensors": tensors}
        scores = score(tensors, sets)
        if place.exists():
            old = json.loads(place.read_text())["scores"][judge.test_set]
            new = scores[judge.test_set]
            if not judge.better(float(str(new[judge.score])), old[judge.score]):
                raise SystemExit(f"no better than what ships: {old}; nothing changed")
        files = {kind: str(path) for kind, path in paths.items()}
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, card.model_dump_json(), json.dumps(files)],
            check=True,
            capture_output=True,
        )
        assert isinstance(network, DITN | MIAVSRLite)
        card = card.model_copy(
            update={
                "summary": args.summary,
                "licence": args.licence,
                "files": {kind: entry(path) for kind, path in paths.items()},
                "bytes_per_pixel": round(float(measured.stdout)),
                "gflops_per_megapixel": measure_gflops(network),
                "recipe": str(args.recipe),
                "data": args.trained_on,
                "steps": steps,
                "scores": scores,
            }
        )
        FILES.mkdir(exist_ok=True)
        for path in paths.values():
            shutil.copy(path, FILES / path.name)
    place.write_text(json.dumps(card.model_dump(), indent=2) + "\n")
    print(f"{name}: step {steps}, differs from torch by {exported.difference:.1e}")


if __name__ == "__main__":
    main()
