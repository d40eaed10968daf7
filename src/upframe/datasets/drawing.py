"""Frames of clips from photographs, drawn with OpenCV.

Frames are sampled with bicubic interpolation from a texture of twice their resolution
that has been averaged over output pixels, so that neither aliasing nor the sharpness
depends much on where between two pixels a frame falls. The texture is made once for a
clip; drawing every frame at twice its size looks the same, is some percent sharper, but
made a batch take seven times as long with Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.motion import Layer, Matrices, Motion, corners, translation
from upframe.errors import MissingExtraError

try:
    import cv2
except ImportError as error:
    raise MissingExtraError("Clips from photographs", "train") from error

_EDGE = cv2.BORDER_REPLICATE


@dataclass(frozen=True)
class _Texture:
    """Part of a photograph with two pixels per output pixel, each the mean of 2x2, so
    that one bicubic sample of it is an output pixel."""

    pixels: NDArray[np.float32]
    to_pixels: Matrices
    """(3, 3): from the photograph."""

    @classmethod
    def of(
        cls, photograph: NDArray[np.uint8], matrices: Matrices, size: tuple[int, int]
    ) -> _Texture:
        """What is seen through ``matrices`` (T, 3, 3).

        Its resolution is that of the frame in the middle, in all frames: a camera that
        zooms by a tenth sees it a tenth too fine or too coarse at the ends.
        """
        at = corners(matrices, size)
        low = np.floor(at.min((0, 1))).astype(int) - 3
        high = np.ceil(at.max((0, 1))).astype(int) + 4
        cut = _cut(photograph, low, high)
        x, y = np.moveaxis(at[len(at) // 2], -1, 0)
        across, down = (x[3] - x[0], y[3] - y[0]), (x[2] - x[1], y[2] - y[1])
        area = abs(across[0] * down[1] - across[1] * down[0]) / 2
        per_pixel = np.sqrt(area / ((size[0] + 1) * (size[1] + 1)))
        wide, tall = (round(float(n) * 2 / per_pixel) for n in high - low)
        fine = cv2.resize(
            cut.astype(np.float32), (wide, tall), interpolation=cv2.INTER_CUBIC
        )
        mean = cv2.blur(fine, (2, 2), anchor=(0, 0), borderType=_EDGE)
        to_pixels = np.diag([*((wide, tall) / (high - low)), 1.0])
        # Centres of both lie at halves, and the mean of 2x2 lies another half further.
        to_pixels = translation(-1, -1) @ to_pixels
        to_pixels = to_pixels @ translation(0.5 - low[0], 0.5 - low[1])
        return cls(np.asarray(mean, np.float32), to_pixels)

    def draw(self, matrix: Matrices, size: tuple[int, int]) -> NDArray[np.float32]:
        """(*size, 3), about 0..255, seen through one matrix."""
        return _sampled(self.pixels, self.to_pixels @ matrix, size, cv2.INTER_CUBIC)


def _sampled(
    image: NDArray[Any], matrix: Matrices, size: tuple[int, int], filter_: int
) -> NDArray[Any]:
    """(*size[, C]) of an image; ``matrix`` leads into it; its edge is repeated."""
    flags = filter_ | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpPerspective(image, matrix, size[::-1], flags=flags, borderMode=_EDGE)
    )


def _cut(
    pixels: NDArray[np.uint8], low: NDArray[np.intp], high: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Columns ``low[0]:high[0]`` and rows ``low[1]:high[1]``; beyond its borders the
    image mirrors."""
    if (low >= 0).all() and high[0] <= pixels.shape[1] and high[1] <= pixels.shape[0]:
        return np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]])
    index = []
    for axis, length in ((1, pixels.shape[0]), (0, pixels.shape[1])):
        at = np.arange(low[axis], high[axis]) % (2 * length)
        index.append(np.where(at < length, at, 2 * length - 1 - at))
    rows, columns = index
    return np.ascontiguousarray(pixels[rows[:, None], columns])


def _cover(clip: NDArray[np.float32], layer: Layer, texture: _Texture) -> None:
    """Draw a layer over frames (T, H, W, 3), only where it covers something."""
    mask = layer.mask.astype(np.float32) / 255
    size = (clip.shape[1], clip.shape[2])
    for frame, matrix, to_mask in zip(
        clip, layer.matrices, layer.mask_matrices, strict=True
    ):
        alpha = _sampled(mask, to_mask, size, cv2.INTER_LINEAR)
        x, y, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
        if width == 0:
            continue
        inside = slice(y, y + height), slice(x, x + width)
        front = texture.draw(matrix @ translation(x, y), (height, width))
        front -= frame[inside]
        front *= cv2.merge([alpha[inside]] * 3)
        frame[inside] += front


def render(motion: Motion, photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the clip.

    Args:
        motion: paths drawn for this photograph's size.
        photograph: (H, W, 3) uint8.

    Returns:
        (T, *motion.size, 3) uint8.
    """
    size = motion.size
    texture = _Texture.of(photograph, motion.camera, size)
    clip = np.stack([texture.draw(matrix, size) for matrix in motion.camera])
    for layer in motion.layers:
        _cover(clip, layer, _Texture.of(photograph, layer.matrices, size))
    clip += 0.5
    return np.clip(clip, 0, 255, out=clip).astype(np.uint8)
