"""Put the averaged weights of a diffusion system among the bundled models.

    python scripts/ship_nano.py runs/oasis-nano/last.ckpt \
        --recipe recipes/oasis-nano.yaml --summary "..." --trained-on "..."

Puts the checkpoint into the recipe's network, asks that for the finished system
(``shipped``), and rounds its weights to float16; everything else is done with the file
as it ships. Scores it on ordinary web video (the protocol ``web``), and refuses it if
weights of the same name ship that have a lower DISTS or fewer artifacts above the
limits of `shipping.RESTORATION`. Writes ``<name>.safetensors`` and the card
``<name>.json`` to ``src/upframe/weights/files``. DISTS needs weights that
``scripts/make_dists_weights.py`` makes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from shipping import (
    RESTORATION,
    entry,
    measure_memory,
    put,
    require_better,
    score,
    web_sets,
)
from torch import Tensor

from upframe.training.networks import build_network
from upframe.training.recipe import Recipe, load_recipe
from upframe.weights.checkpoints import read_checkpoint
from upframe.weights.loading import describe_file
from upframe.weights.saving import save_weights

SYSTEMS = ("ultravsr", "oasis", "liftvsr", "patchscaler")
_SIZE = (160, 120)
_FRAMES = 32
"""Enough for every system to hold as much as it ever will."""


def finished(
    checkpoint: Path, plan: Recipe
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Name, configuration and weights of the system that a checkpoint holds."""
    system = plan.system.name
    if system not in SYSTEMS:
        raise SystemExit(f"recipes of {system} end in nothing that ships")
    network: Any = build_network(plan.system).eval()
    network.load_state_dict(dict(read_checkpoint(checkpoint).state))
    return system, *network.export_state()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--name", help="of the model; the recipe's if left out")
    parser.add_argument("--summary", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--frames", type=int, help="of each clip that are scored")
    args = parser.parse_args()

    plan = load_recipe(args.recipe)
    name = args.name or plan.name
    system, config, state = finished(args.checkpoint, plan)
    steps = torch.load(args.checkpoint, map_location="cpu", weights_only=True)["step"]
    with tempfile.TemporaryDirectory() as draft:
        tensors = Path(draft) / f"{name}.safetensors"
        save_weights(tensors, state, config, system=system, half=True)
        paths = {"safetensors": tensors}
        card = describe_file(tensors)
        sets = web_sets(args.data)
        scores = score(tensors, sets, args.frames)
        require_better(name, scores, RESTORATION, sets, args.frames)
        card = card.model_copy(
            update={
                "summary": args.summary,
                "licence": args.licence,
                "files": {"safetensors": entry(tensors)},
                "bytes_per_pixel": measure_memory(card, paths, _SIZE, _FRAMES),
                "recipe": str(args.recipe),
                "data": args.trained_on,
                "steps": steps,
                "scores": scores,
            }
        )
        put(card, paths)
    print(f"{name}: step {steps}, {card.files['safetensors'].bytes / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
