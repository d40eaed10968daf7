"""Web video: the three kinds of clips, exact repetition, shapes, kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from upframe.degradations.bicubic import bicubic_down
from upframe.degradations.operations import Blur, Jpeg, Noise, Resize, Video
from upframe.degradations.real import Parameters, apply
from upframe.degradations.registry import degrade
from upframe.degradations.resampling import resize_clip
from upframe.degradations.web import WebConfig, draw


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    """A picture that moves by a pixel a frame."""
    y, x = np.mgrid[:64, :80]
    picture = np.stack([x * 3, y * 3, 128 + 100 * np.sin(x / 3) * np.cos(y / 4)], -1)
    return np.stack([np.roll(picture.astype(np.uint8), t, 1) for t in range(4)])


def drawn(config: WebConfig, count: int) -> list[Parameters]:
    rng = np.random.default_rng(0)
    return [draw(config, rng, 4, (64, 80), 4) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_the_seed_and_the_dump_both_repeat_it(
    clip: NDArray[np.uint8], seed: int
) -> None:
    parameters = draw(WebConfig(), np.random.default_rng(seed), 4, (64, 80), 4)
    low = apply(parameters, clip)
    assert low.shape == (4, 16, 20, 3)
    assert low.dtype == np.uint8
    again = Parameters.model_validate_json(parameters.model_dump_json())
    np.testing.assert_array_equal(apply(again, clip), low)
    got = degrade(WebConfig(), clip, 4, np.random.default_rng(seed))
    np.testing.assert_array_equal(got, low)


def test_clean_clips_are_only_reduced() -> None:
    for parameters in drawn(WebConfig(clean=1, heavy=0), 30):
        (only,) = parameters.operations
        assert isinstance(only, Resize)
        assert set(only.sizes) == {(16, 20)}


def test_heavy_clips_are_those_of_the_second_order_pipeline() -> None:
    for parameters in drawn(WebConfig(clean=0, heavy=1), 10):
        assert sum(isinstance(o, Jpeg) for o in parameters.operations) == 2


def test_compressed_clips_end_with_a_codec_after_the_reduction() -> None:
    config = WebConfig(clean=0, heavy=0)
    kinds = drawn(config, 300)
    for parameters in kinds:
        *before, last = parameters.operations
        assert isinstance(last, Video)
        assert last.bits_per_pixel is None
        assert last.quality is not None
        low, high = config.qualities[last.codec]
        assert low <= last.quality <= high
        sizes = [o.sizes[0] for o in before if isinstance(o, Resize)]
        assert sizes[-1] == (16, 20)
        assert len(sizes) <= 2
    soft = [any(isinstance(o, Blur | Noise) for o in p.operations) for p in kinds]
    assert 0.4 < np.mean(soft) < 0.6
    source = [isinstance(p.operations[0], Video) for p in kinds]
    assert 0.2 < np.mean(source) < 0.4
    assert {
        o.codec for p in kinds for o in p.operations if isinstance(o, Video)
    } == set(config.codecs)


def test_the_shares_are_those_of_the_setting() -> None:
    kinds = drawn(WebConfig(), 400)
    clean = np.mean([len(p.operations) == 1 for p in kinds])
    heavy = np.mean([any(isinstance(o, Jpeg) for o in p.operations) for p in kinds])
    assert 0.1 < clean < 0.2
    assert 0.15 < heavy < 0.25


@pytest.mark.parametrize(
    "wrong",
    [{"clean": 0.7, "heavy": 0.7}, {"filters": {"area": 0.5}}, {"qualities": {}}],
)
def test_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebConfig(**wrong)


def test_antialiased_bicubic_is_matlabs(clip: NDArray[np.uint8]) -> None:
    ours = resize_clip(clip.astype(np.float32), (16, 20), "bicubic_antialiased")
    theirs = bicubic_down(clip, 4)
    inner = np.s_[:, 2:-2, 2:-2]
    assert np.abs(ours.clip(0, 255)[inner] - theirs[inner].astype(float)).max() < 0.51


@pytest.mark.parametrize(
    "name", ["bilinear_antialiased", "bicubic_antialiased", "lanczos3_antialiased"]
)
@pytest.mark.parametrize("size", [(16, 20), (23, 31), (128, 90)])
def test_antialiased_kernels_keep_ramps_and_remove_what_is_too_fine(
    name: Any, size: tuple[int, int]
) -> None:
    flat = np.full((1, 64, 80, 3), 7, np.float32)
    np.testing.assert_allclose(resize_clip(flat, size, name), 7, rtol=1e-5)
    ramp = np.broadcast_to(np.arange(80, dtype=np.float32)[:, None], (1, 64, 80, 3))
    want = (np.arange(size[1]) + 0.5) * 80 / size[1] - 0.5
    got = resize_clip(np.ascontiguousarray(ramp), size, name)[0, size[0] // 2, :, 0]
    inner = slice(size[1] // 4, -(size[1] // 4))
    np.testing.assert_allclose(got[inner], want[inner], atol=0.05)
    stripes = np.zeros((1, 64, 80, 3), np.float32)
    stripes[:, :, ::2] = 1
    if size[1] < 40:
        left = resize_clip(stripes, size, name)[0, size[0] // 2, 4:-4, 0]
        assert np.ptp(left) < 0.1
