"""NIQE: recorded values of an independent computation, and what must not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from material import reference
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.errors import WeightsError
from upframe.metrics.niqe import FILE, NIQE
from upframe.nn.resize import imresize

RECORDED = 6.8420
"""Of the generated image, by the same independent computation."""


def _picture(height: int = 210, width: int = 300) -> np.ndarray:
    """Noise of several sizes, as natural images have it."""
    rng = np.random.default_rng(11)
    out = np.zeros((height, width, 3))
    for step in (1, 2, 4, 8, 16, 32):
        noise = rng.random((-(-height // step), -(-width // step), 3)) - 0.5
        out += imresize(noise, size=(height, width)) * step**0.5
    return to_uint8((out - out.min()) / (out.max() - out.min()))


def _window() -> np.ndarray:
    x = np.arange(-3, 4)
    g = np.exp(-(x**2) / (2 * (7 / 6) ** 2))
    return np.outer(g, g) / g.sum() ** 2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Some model, so that tests run without the authors'."""
    rng = np.random.default_rng(2)
    spread = rng.random((36, 36))
    np.savez(
        tmp_path / FILE,
        mu_pris_param=rng.random((1, 36)) + 0.5,
        cov_pris_param=spread @ spread.T / 36 + np.eye(36),
        gaussian_window=_window(),
    )
    return tmp_path


def test_recorded_value_with_the_authors_model() -> None:
    metric = NIQE(reference("weights/metrics"))
    assert metric(_picture(), crop=4) == pytest.approx(RECORDED, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "want"),
    [("baby", 3.3224), ("bird", 5.2818), ("butterfly", 5.2050), ("woman", 4.6481)],
)
def test_photographs_look_more_natural_than_their_enlargements(
    name: str, want: float
) -> None:
    # computed with SciPy's convolve and gamma from the formulas, on rounded Y
    path = reference(f"data/sisr/Set5/{name}.png")
    image = crop_to_multiple(np.asarray(Image.open(path).convert("RGB")), 4)
    metric = NIQE(reference("weights/metrics"))
    value = metric(image, crop=4)
    assert value == pytest.approx(want, abs=1e-3)
    enlarged = to_uint8(imresize(bicubic_down(image, 4) / 255, 4))
    assert metric(enlarged, crop=4) > value + 2


def test_mirrored_pictures_score_alike(model: Path) -> None:
    # whole blocks, so that the same pixels are seen; products with neighbours wrap
    # around the block and change sides, which moves a pixel column at most
    metric = NIQE(model)
    image = _picture(192, 288)
    assert metric(image[:, ::-1]) == pytest.approx(metric(image), rel=0.02)


def test_what_lies_outside_whole_blocks_does_not_matter(model: Path) -> None:
    metric = NIQE(model)
    image = _picture()
    changed = image.copy()
    changed[4 + 192 :] = 0
    changed[:, :4] = 255
    assert metric(changed, crop=4) == metric(image, crop=4)
    assert metric(changed) != metric(image)


def test_too_small_or_too_flat(model: Path) -> None:
    metric = NIQE(model)
    with pytest.raises(ValueError, match="two blocks of 96x96"):
        metric(_picture(100, 199), crop=4)
    assert np.isnan(metric(np.full((200, 200, 3), 90, np.uint8)))
    flat = _picture()
    flat[:100, :100] = 90
    assert np.isfinite(metric(flat))
    with pytest.raises(ValueError, match="uint8"):
        metric(_picture() / 255)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(WeightsError, match="model of NIQE"):
        NIQE(tmp_path)
    np.savez(tmp_path / FILE, mu_pris_param=np.zeros(3))
    with pytest.raises(WeightsError, match="model of NIQE"):
        NIQE(tmp_path)
