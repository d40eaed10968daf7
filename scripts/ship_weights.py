"""Put the averaged weights of a checkpoint among the bundled models.

    python scripts/ship_weights.py runs/ditn-s/last.ckpt --recipe recipes/ditn-s.yaml

Scores the weights, refuses them if they are no better on the validation clips than the
bundled ones, then writes ``<name>.onnx``, ``<name>.safetensors`` and the card
``<name>.json`` to ``src/upframe/weights/files``. The export is compared with torch;
memory and work are measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from upframe.evaluation.evaluate import evaluate
from upframe.export.onnx import export_onnx
from upframe.systems.ditn import DITN
from upframe.training.recipe import load_recipe
from upframe.weights.card import ModelCard, WeightFile
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.index import FILES
from upframe.weights.loading import load

# Name on the card, folder, protocol.
SETS = (
    ("val_video", "val_video", "vid4"),
    ("set5", "sisr/Set5", "sisr"),
    ("set14", "sisr/Set14", "sisr"),
    ("vid4_calendar_city", "vid4", "vid4"),
)
VALIDATION = "val_video"

# A process of its own, so that torch's memory is not counted; as the runtime does it.
MEASURE = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 2
options.enable_mem_pattern = False
session = ort.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(key))
before = memory("VmRSS")
height, width = 480, 640
session.run(None, {"frames": np.full((1, height, width, 3), 0.5, np.float32)})
print((memory("VmHWM") - before) / (height * width))
"""


def measure_bytes_per_pixel(path: Path) -> int:
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True
    )
    return round(float(out.stdout))


def measure_gflops(network: DITN) -> float:
    """Per million input pixels."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.upscale(torch.zeros(1, 3, 128, 128))
    return counter.get_total_flops() / 1e9 / (128 * 128) * 1e6


def entry(path: Path) -> WeightFile:
    data = path.read_bytes()
    return WeightFile(
        name=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
    )


def score(weights: Path, data: Path) -> dict[str, dict[str, object]]:
    """Scores for the card: test set to metrics, with the bicubic baseline beside."""
    scores: dict[str, dict[str, object]] = {}
    for name, folder, protocol in SETS:
        if not (data / folder).is_dir():
            raise SystemExit(f"{data / folder} is missing: no scores, nothing shipped")
        entry: dict[str, object] = {}
        for title, model in (("", str(weights)), ("_bicubic", "bicubic")):
            report = evaluate(model=model, data=data / folder, protocol=protocol)
            for metric, value in report.mean.items():
                entry[f"{metric}_y{title}"] = round(value, 4)
        entry["clips"] = len(report.clips)
        entry["frames"] = sum(clip.frames for clip in report.clips)
        entry["settings"] = report.settings
        scores[name] = entry
        print(name, {k: v for k, v in entry.items() if k != "settings"}, flush=True)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()

    recipe = load_recipe(args.recipe)
    config = recipe.system.args
    steps = torch.load(args.checkpoint, map_location="cpu", weights_only=True)["step"]
    state = {
        k: v.contiguous() for k, v in read_checkpoint(args.checkpoint).state.items()
    }
    place = FILES / f"{recipe.name}.json"
    with tempfile.TemporaryDirectory() as draft:
        tensors = Path(draft) / f"{recipe.name}.safetensors"
        graph = Path(draft) / f"{recipe.name}.onnx"
        save_file(state, tensors, metadata={"format": "pt"})
        tensors.chmod(0o644)
        network = load(tensors)
        assert isinstance(network, DITN)
        export = export_onnx(network, graph)
        scores = score(tensors, args.data)
        if place.exists():
            old = json.loads(place.read_text())["scores"].get(VALIDATION, {})
            if scores[VALIDATION]["psnr_y"] <= old.get("psnr_y", 0):
                raise SystemExit(f"no better than what ships: {old}; nothing changed")
        card = ModelCard(
            name=recipe.name,
            system=recipe.system.name,
            scale=config["scale"],
            summary=args.summary,
            licence=args.licence,
            parameters=sum(p.numel() for p in network.parameters()),
            config=config,
            files={"onnx": entry(graph), "safetensors": entry(tensors)},
            multiple=network.patch,
            min_size=16,
            overlap=32,
            bytes_per_pixel=measure_bytes_per_pixel(graph),
            gflops_per_megapixel=round(measure_gflops(network), 1),
            recipe=str(args.recipe),
            data=args.trained_on,
            steps=steps,
            scores=scores,
        )
        FILES.mkdir(exist_ok=True)
        for file in (tensors, graph):
            shutil.copy(file, FILES / file.name)
    place.write_text(json.dumps(card.model_dump(), indent=2) + "\n")
    print(f"{recipe.name}: step {steps}, differs from torch by {export.difference:.1e}")


if __name__ == "__main__":
    main()
