"""Put the averaged weights of a checkpoint among the bundled models.

    python scripts/ship_weights.py runs/ditn-s/last.ckpt --recipe recipes/ditn-s.yaml

Scores the weights, refuses them if they are no better on the validation clips than the
bundled ones, then writes the graphs, ``<name>.safetensors`` and the card
``<name>.json`` to ``src/upframe/weights/files``. The export is compared with torch;
memory and work are measured. Networks of clips get graphs in int8, too, where these
lose less than 0.05 dB.

Weights for bicubic shrinking are judged by PSNR-Y on ``val_video``. Weights whose
recipe has the degradation ``real`` or ``web`` are judged on the same clips by the
protocol ``web``: by DISTS, and by limits on
checkerboards and false texture (`shipping.RESTORATION`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from ship_graphs import with_int8
from shipping import (
    FIDELITY,
    RESTORATION,
    TestSet,
    entry,
    measure_memory,
    put,
    require_better,
    score,
    web_sets,
)
from torch.utils.flop_counter import FlopCounterMode

from upframe.export.onnx import OnnxExport, export_onnx, export_recurrent
from upframe.systems.ditn.model import DITN
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.training.recipe import load_recipe
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.loading import describe_file, load
from upframe.weights.saving import save_weights


def measure_gflops(network: DITN | MIAVSRLite) -> float:
    """Per million input pixels and frame."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 2, 3, 128, 128))
    return round(int(counter.get_total_flops()) / 1e9 / (2 * 128 * 128) * 1e6, 1)


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
    args = parser.parse_args()

    recipe = load_recipe(args.recipe)
    name = recipe.name
    restores = recipe.data.degradation.name in ("real", "web")
    judge = RESTORATION if restores else FIDELITY
    sets = [
        TestSet("val_video", args.data / "val_video", "vid4"),
        TestSet("set5", args.data / "sisr/Set5", "sisr"),
        TestSet("set14", args.data / "sisr/Set14", "sisr"),
        TestSet("vid4_calendar_city", args.data / "vid4", "vid4"),
    ]
    if restores:
        sets = web_sets(args.data)
    steps = torch.load(args.checkpoint, map_location="cpu", weights_only=True)["step"]
    state = read_checkpoint(args.checkpoint).state
    config = describe_file(args.checkpoint).config
    with tempfile.TemporaryDirectory() as draft:
        tensors = Path(draft) / f"{name}.safetensors"
        save_weights(tensors, state, config)
        card = describe_file(tensors)
        network = load(tensors)
        exported = export(network, Path(draft) / f"{name}.onnx")
        paths = {**exported.files, "safetensors": tensors}
        scores = score(tensors, sets)
        require_better(name, scores, judge, sets)
        assert isinstance(network, DITN | MIAVSRLite)
        card = card.model_copy(
            update={
                "summary": args.summary,
                "licence": args.licence,
                "files": {kind: entry(path) for kind, path in paths.items()},
                "bytes_per_pixel": measure_memory(card, paths, (640, 480), 12),
                "gflops_per_megapixel": measure_gflops(network),
                "recipe": str(args.recipe),
                "data": args.trained_on,
                "steps": steps,
                "scores": scores,
            }
        )
        if isinstance(network, MIAVSRLite):
            card, made = with_int8(card, network, paths, Path(draft), args.data)
            paths |= made
        put(card, paths)
    print(f"{name}: step {steps}, differs from torch by {exported.difference:.1e}")


if __name__ == "__main__":
    main()
