"""DISTS: values of the authors' package; properties with any weights."""

from __future__ import annotations

import io
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from material import reference
from upframe.errors import WeightsError
from upframe.metrics.dists import DISTS, FILE, VGGStages
from upframe.metrics.files import find_file

rng = np.random.default_rng(7)
IMAGE = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> VGGStages:
    torch.manual_seed(0)
    return VGGStages()


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_values_of_the_authors_package() -> None:
    folder = reference("golden/lpips")
    try:
        metric = DISTS(find_file(FILE, "DISTS"))
    except WeightsError as error:
        pytest.skip(str(error))
    truth = _read(folder / "ex_ref.png")
    for name, want in (("ex_p0", 0.387927), ("ex_p1", 0.225024)):
        value = metric(_read(folder / f"{name}.png"), truth)
        assert value == pytest.approx(want, abs=1e-5)


def test_zero_symmetric_and_growing(network: VGGStages) -> None:
    metric = DISTS.of(network)
    assert metric(IMAGE, IMAGE) == pytest.approx(0, abs=1e-5)
    little, much = (
        np.clip(IMAGE + rng.normal(0, sigma, IMAGE.shape), 0, 255).astype(np.uint8)
        for sigma in (4, 60)
    )
    assert 0 < metric(little, IMAGE) < metric(much, IMAGE) < 1
    assert metric(IMAGE, much) == pytest.approx(metric(much, IMAGE), rel=1e-4)


def test_the_border_does_not_count(network: VGGStages) -> None:
    metric = DISTS.of(network)
    framed = IMAGE.copy()
    framed[:4] = framed[-4:] = 0
    assert metric(framed, IMAGE) > 0.001
    assert metric(framed, IMAGE, crop=4) == pytest.approx(0, abs=1e-5)


def test_maps_halve_like_vgg16(network: VGGStages) -> None:
    with torch.inference_mode():
        maps = network(torch.rand(1, 3, 32, 50))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (3, 32, 50),
        (64, 32, 50),
        (128, 16, 25),
        (256, 8, 13),
        (512, 4, 7),
        (512, 2, 4),
    ]


def test_a_file_of_something_else(tmp_path: Path) -> None:
    save_file({"alpha": torch.zeros(1, 1475, 1, 1)}, tmp_path / FILE)
    with pytest.raises(WeightsError, match="does not hold the weights of DISTS"):
        DISTS(tmp_path)


def test_what_cannot_be_compared(network: VGGStages) -> None:
    metric = DISTS.of(network)
    with pytest.raises(ValueError, match="sizes differ"):
        metric(IMAGE, IMAGE[1:])
    with pytest.raises(ValueError, match="32x32"):
        metric(IMAGE, IMAGE, crop=5)


def test_the_script_reads_arrays_and_nothing_else(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "make_dists_weights.py"
    reader = runpy.run_path(str(script))["_Arrays"]
    with pytest.raises(pickle.UnpicklingError, match="is no array"):
        reader(io.BytesIO(pickle.dumps(print))).load()
