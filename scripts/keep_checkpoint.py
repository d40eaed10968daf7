"""Keep what a run has learned in the repository, for later runs to start from.

    python scripts/keep_checkpoint.py runs/oasis-nano/last.ckpt --without system.vae.

Writes ``recipes/checkpoints/<name>.ckpt``: recipe, step, and the averaged weights in
float16, which a recipe names as ``init:``; and ``recipes/logs/<name>.csv``, the run's
curve. ``--without`` leaves out frozen parts that the recipe reads from other files.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from model_page import write_curve

from upframe.weights.checkpoints import read_content

RECIPES = Path(__file__).parents[1] / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--without", action="append", default=[], metavar="PREFIX")
    parser.add_argument("--name", help="of the files; the recipe's if left out")
    args = parser.parse_args()
    content = read_content(args.checkpoint)
    name = args.name or json.loads(content["recipe"])["name"]
    kept = {
        key: value.half() if value.is_floating_point() else value
        for key, value in content["params_ema"].items()
        if not key.startswith(tuple(args.without))
    }
    for prefix in args.without:
        if not any(key.startswith(prefix) for key in content["params_ema"]):
            raise SystemExit(f"nothing in {args.checkpoint} begins with {prefix}")
    out = RECIPES / "checkpoints" / f"{name}.ckpt"
    torch.save(
        {"recipe": content["recipe"], "step": content["step"], "params_ema": kept}, out
    )
    write_curve(
        args.checkpoint.with_name("log.jsonl"), RECIPES / "logs" / f"{name}.csv"
    )
    size = out.stat().st_size / 1e6
    print(f"{out}: step {content['step']}, {len(kept)} entries, {size:.2f} MB")


if __name__ == "__main__":
    main()
