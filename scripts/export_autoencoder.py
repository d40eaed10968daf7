"""Give the averaged weights of an autoencoder the file that other recipes start from.

    python scripts/export_autoencoder.py runs/autoencoder-nano/last.ckpt

Measures the standard deviation of its latents on crops of the training images, which
gives ``scaling_factor``; one that had a teacher keeps the teacher's, whose latents it
learned. Writes ``autoencoder.safetensors`` beside the checkpoint, in float16, with the
sizes in its metadata.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from upframe.systems.diffusion.training import read_autoencoder
from upframe.training.caches import open_caches
from upframe.training.recipe import load_recipe
from upframe.weights.saving import save_weights

_CROPS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--recipe", type=Path, default=Path("recipes/autoencoder-nano.yaml")
    )
    args = parser.parse_args()
    network = read_autoencoder(args.checkpoint)
    recipe = load_recipe(args.recipe)
    teacher = recipe.system.args.get("teacher")
    pairs, _ = open_caches(recipe.data, 4)
    _, crops = pairs.sample(np.random.default_rng(0), _CROPS, recipe.data.patch)
    images = torch.from_numpy(crops).movedim(-1, 1) / 127.5 - 1
    with torch.inference_mode():
        latents = torch.cat(
            [network.encode(x).latent_dist.mean for x in images[:, None]]
        )
    if teacher is None:
        scaling = round(1 / float(latents.std()), 4)
    else:
        scaling = read_autoencoder(Path(teacher)).config.scaling_factor
    config = asdict(replace(network.config, scaling_factor=scaling))
    out = args.checkpoint.with_name("autoencoder.safetensors")
    save_weights(out, network.state_dict(), config, half=True)
    print(f"{out}: deviation {float(latents.std()):.3f}, scaling_factor {scaling}")
    print("per channel:", [round(float(v), 2) for v in latents.std((0, 2, 3))])


if __name__ == "__main__":
    main()
