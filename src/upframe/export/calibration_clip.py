"""Synthetic clips, from which an int8 export takes the ranges of its values.

They are the same on every machine, so that an export is a function of the weights
alone. Each shows what makes values large or common in footage: noise whose amplitude
falls with the frequency, as in photographs; edges at all angles, and curves; lines of
print, dark on light and light on dark. It is rendered four times as large and then
downsampled, as a lens does, and pans by parts of a pixel; the last one also changes
abruptly, which no motion explains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from upframe.nn.resize import imresize

Clip = NDArray[np.float32]
"""(T, H, W, 3) in [0, 1], whole levels of 8 bits."""

HEIGHT, WIDTH = 96, 128
FRAMES = 5
_SHRINK = 4
_SPEEDS = ((0, 4), (2, 5), (7, 3))
"""Of each clip, down and across in a frame, in quarters of a pixel."""
_SHAPES = 14


def calibration_clips() -> list[Clip]:
    """Three clips of five frames, 96 by 128 pixels."""
    rng = np.random.default_rng(20)
    height, width = HEIGHT * _SHRINK, WIDTH * _SHRINK
    clips: list[Clip] = []
    for contrast, (down, across) in zip((0.1, 0.15, 0.2), _SPEEDS, strict=True):
        scene = _scene((height + down * FRAMES, width + across * FRAMES), contrast, rng)
        frames = [
            scene[i * down : i * down + height, i * across : i * across + width]
            for i in range(FRAMES)
        ]
        small = [imresize(frame, scale=1 / _SHRINK).clip(0, 1) for frame in frames]
        clips.append(
            np.rint(np.stack(small) * 255).astype(np.float32) / np.float32(255)
        )
    clips[-1][FRAMES // 2 :] = clips[-1][FRAMES // 2 :, ::-1]
    return clips


def _scene(
    shape: tuple[int, int], contrast: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W, 3): noise, then shapes and print over it."""
    colour = np.stack([_noise(shape, rng) for _ in range(3)], axis=-1)
    scene = 0.5 + contrast * (_noise(shape, rng)[..., None] + 0.3 * colour)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    for _ in range(_SHAPES):
        # half of a disc: an edge at any angle that ends in a curve
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(20, 80)
        across, down = x - rng.uniform(0, shape[1]), y - rng.uniform(0, shape[0])
        upper = across * np.cos(angle) + down * np.sin(angle) > 0
        scene[upper & (np.hypot(across, down) < radius)] = rng.uniform(0.1, 0.9, 3)
    for paper, ink in ((0.9, 0.1), (0.1, 0.9)):
        top, left = (int(rng.integers(0, side - 128)) for side in shape)
        page = np.full((128, 128), paper)
        for line in range(12, 116, 24):
            # strokes of a pixel of the downsampled frame, and between them
            strokes = np.repeat(rng.random((4, 26)) < 0.5, _SHRINK, axis=0)
            page[line : line + 16, 12:116] = np.where(
                np.repeat(strokes, _SHRINK, axis=1), ink, paper
            )
        scene[top : top + 128, left : left + 128] = page[..., None]
    return scene.clip(0, 1).astype(np.float32)


def _noise(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """(H, W) of deviation 1, its amplitude as one over the frequency."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    down, across = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    frequency = np.hypot(down[:, None], across)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency, s=shape)
    return np.asarray(noise / noise.std(), np.float64)
