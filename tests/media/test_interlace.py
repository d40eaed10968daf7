"""Which frames are taken for interlaced."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame

from upframe.media.interlace import looks_interlaced

TICK = Fraction(1, 25)


def texture(seed: int, height: int, width: int, blur: int) -> np.ndarray:
    """Smooth or sharp random texture, levels 0 to 255."""
    image = np.random.default_rng(seed).uniform(0, 255, (height, width))
    for axis in (0, 1):
        for _ in range(blur):
            image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    low, high = image.min(), image.max()
    return (image - low) / (high - low) * 255


def frames(
    moves: list[tuple[float, float]],
    *,
    size: tuple[int, int] = (144, 176),
    order: str | None = None,
    blur: int = 2,
    pix_fmt: str = "yuv420p",
) -> list[VideoFrame]:
    """A texture that moves by (down, right) pixels between frames."""
    big = texture(3, size[0] * 4, size[1] * 4, blur)

    def shot(down: float, right: float) -> np.ndarray:
        y, x = round(size[0] + down), round(size[1] + right)
        return big[y : y + size[0], x : x + size[1]]

    result, down, right = [], 0.0, 0.0
    for step in moves:
        image = shot(down, right).copy()
        if order:
            late = shot(down + step[0] / 2, right + step[1] / 2)
            rows = slice(1, None, 2) if order == "tff" else slice(0, None, 2)
            image[rows] = late[rows]
        down, right = down + step[0], right + step[1]
        gray = VideoFrame.from_ndarray(image.astype(np.uint8), "gray")
        frame = gray.reformat(format=pix_fmt)
        frame.pts, frame.time_base = len(result), TICK
        result.append(frame)
    return result


MOTIONS = {
    "pan": [(0, 4)] * 24,
    "fast pan": [(0, 14)] * 24,
    "rise": [(-2, 0)] * 24,
    "one line": [(1, 0)] * 24,
    "diagonal": [(2, 6)] * 24,
    "shake": [(0, 6), (0, -6)] * 12,
    "late": [(0, 0)] * 12 + [(0, 4)] * 12,
}


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("motion", ["pan", "fast pan", "diagonal", "late"])
def test_unflagged_fields_are_found(motion, order):
    assert looks_interlaced(frames(MOTIONS[motion], order=order, blur=8), TICK, "h264")


@pytest.mark.parametrize("blur", [0, 1, 4])
@pytest.mark.parametrize("motion", sorted(MOTIONS))
def test_progressive_frames_are_left_alone(motion, blur):
    assert not looks_interlaced(frames(MOTIONS[motion], blur=blur), TICK, "h264")


def test_still_stripes_are_no_fields():
    stripes = np.zeros((144, 176), np.uint8)
    stripes[::2] = 255
    clip = [VideoFrame.from_ndarray(stripes, "gray") for _ in range(24)]
    assert not looks_interlaced(clip, TICK, "mpeg2video")


@pytest.mark.parametrize("seed", range(4))
def test_stripes_under_moving_things_are_no_fields(seed):
    rng = np.random.default_rng(seed)
    clip = []
    for number in range(24):
        image = texture(seed, 144, 176, 1)
        image[::2] *= 0.5
        at = 10 + 5 * number
        image[40:90, at : at + 30] = rng.uniform(0, 255)
        clip.append(VideoFrame.from_ndarray(image.astype(np.uint8), "gray"))
    assert not looks_interlaced(clip, TICK, "h264")


def test_a_progressive_test_card_is_left_alone():
    graph = Graph()
    source = graph.add("testsrc2", "size=176x144:rate=25")
    sink = graph.add("buffersink")
    source.link_to(sink)
    graph.configure()
    clip = [graph.vpull() for _ in range(24)]
    assert not looks_interlaced(clip, TICK, "huffyuv")


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1", "hevc", "cinepak", "flv1"])
def test_codecs_without_unflagged_fields(codec):
    assert not looks_interlaced(frames(MOTIONS["pan"], order="tff"), TICK, codec)


def test_deep_frames_without_flags_are_progressive():
    clip = frames(MOTIONS["pan"], order="tff", pix_fmt="yuv420p10le")
    assert not looks_interlaced(clip, TICK, "h264")
