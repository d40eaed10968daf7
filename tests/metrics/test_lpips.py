"""LPIPS: the authors' example; properties with any weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from material import reference
from upframe.errors import WeightsError
from upframe.metrics.lpips import FILE, LPIPS, AlexLayers

rng = np.random.default_rng(7)
IMAGE = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> AlexLayers:
    torch.manual_seed(0)
    network = AlexLayers()
    for weight in network.weights():
        weight.data.abs_()
    return network


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_authors_example() -> None:
    folder = reference("golden/lpips")
    metric = LPIPS(reference("weights/metrics"))
    truth = _read(folder / "ex_ref.png")
    for name, want in (("ex_p0", 0.722), ("ex_p1", 0.138)):
        value = metric(_read(folder / f"{name}.png"), truth)
        assert value == pytest.approx(want, abs=0.0005)


def test_zero_symmetric_and_growing(network: AlexLayers) -> None:
    metric = LPIPS.of(network)
    assert metric(IMAGE, IMAGE) == 0
    steps = [
        np.clip(IMAGE + rng.normal(0, sigma, IMAGE.shape), 0, 255).astype(np.uint8)
        for sigma in (4, 40)
    ]
    little, much = (metric(step, IMAGE) for step in steps)
    assert 0 < little < much
    assert metric(IMAGE, steps[1]) == pytest.approx(much, rel=1e-5)


def test_the_border_does_not_count(network: AlexLayers) -> None:
    metric = LPIPS.of(network)
    framed = IMAGE.copy()
    framed[:4] = framed[-4:] = 0
    assert metric(framed, IMAGE) > 0
    assert metric(framed, IMAGE, crop=4) == 0


def test_the_mean_over_crops_is_not_blind_to_a_phase(network: AlexLayers) -> None:
    metric = LPIPS.of(network)
    other = np.clip(IMAGE + rng.normal(0, 20, IMAGE.shape), 0, 255).astype(np.uint8)
    crops = [metric(other, IMAGE, crop=crop) for crop in (1, 2, 3, 4)]
    assert len(set(crops)) == 4
    assert metric(other, IMAGE, crop=1, phases=2) == pytest.approx(
        np.mean([crops[0], crops[2]])
    )
    assert metric(other, IMAGE, crop=1, phases=4) == pytest.approx(np.mean(crops))
    assert metric(IMAGE, IMAGE, phases=4) == 0
    with pytest.raises(ValueError, match="phases must be 1 to 4"):
        metric(other, IMAGE, phases=0)


def test_layers_see_what_alexnet_sees(network: AlexLayers) -> None:
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, 64, 96) * 2 - 1)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 15, 23),
        (192, 7, 11),
        (384, 3, 5),
        (256, 3, 5),
        (256, 3, 5),
    ]
    lengths = maps[0].square().sum(1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_a_file_by_path(tmp_path: Path, network: AlexLayers) -> None:
    save_file(network.state_dict(), tmp_path / FILE)
    other = 255 - IMAGE
    want = LPIPS.of(network)(other, IMAGE)
    assert LPIPS(tmp_path)(other, IMAGE) == pytest.approx(want)
    save_file({"features.0.bias": torch.zeros(64)}, tmp_path / FILE)
    with pytest.raises(WeightsError, match="does not hold the weights of LPIPS"):
        LPIPS(tmp_path)


def test_what_cannot_be_compared(network: AlexLayers) -> None:
    metric = LPIPS.of(network)
    with pytest.raises(ValueError, match="sizes differ"):
        metric(IMAGE, IMAGE[1:])
    with pytest.raises(ValueError, match="32x32"):
        metric(IMAGE, IMAGE, crop=5)
    with pytest.raises(ValueError, match="uint8"):
        metric(IMAGE / 255, IMAGE / 255)
