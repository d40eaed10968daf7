"""Clips through a codec in memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from upframe.media.recode import Codec, recode

CODECS: list[Codec] = ["libx264", "libx265", "libvpx-vp9", "mpeg2video", "mpeg4"]
QUANTISERS = ("mpeg2video", "mpeg4")


def numbered(frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Frames whose mean tells their place; a texture that compression eats."""
    rng = np.random.default_rng(0)
    texture = rng.integers(-12, 13, (height, width, 1))
    level = np.linspace(40, 210, frames)[:, None, None, None]
    return np.clip(level + texture + np.zeros(3), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [(64, 96), (37, 51), (5, 7)])
def test_pixels_change_while_count_order_and_size_stay(
    codec: Codec, size: tuple[int, int]
) -> None:
    clip = numbered(7, *size)
    out = recode(clip, codec, quality=8 if codec in QUANTISERS else 24)
    assert out.shape == clip.shape
    assert out.dtype == np.uint8
    means = out.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, clip.mean(axis=(1, 2, 3)), atol=6)
    assert (np.diff(means) > 0).all()
    assert (out != clip).mean() > 0.2


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_clip_gives_the_same_pixels(codec: Codec) -> None:
    clip = numbered(5, 48, 40)
    first = recode(clip, codec, bits_per_pixel=0.5)
    for _ in range(4):
        np.testing.assert_array_equal(recode(clip, codec, bits_per_pixel=0.5), first)


@pytest.mark.parametrize("codec", CODECS)
def test_a_worse_quality_is_worse(codec: Codec) -> None:
    clip = numbered(4, 64, 64)
    good, bad = (recode(clip, codec, quality=q).astype(int) for q in (3, 30))
    assert np.abs(good - clip).mean() < np.abs(bad - clip).mean()


def test_refuses_what_is_no_clip() -> None:
    clip = numbered(2, 32, 32)
    with pytest.raises(ValueError, match="either"):
        recode(clip, "libx264")
    with pytest.raises(ValueError, match="either"):
        recode(clip, "libx264", quality=20, bits_per_pixel=1)
    with pytest.raises(ValueError, match="uint8"):
        recode(clip[0], "libx264", quality=20)
    with pytest.raises(ValueError, match="uint8"):
        recode(clip[:0], "libx264", quality=20)
