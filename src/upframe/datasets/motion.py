"""Clips from photographs: synthetic cameras over still images.

Photographs are cleaner than most video frames, and their motion is known exactly. A
camera path is a homography per frame that maps output pixels into the photograph: pan,
zoom, rotation and perspective, each with a speed, an acceleration and hand-held shake.
Layers in front (a silhouette that moves faster, as near things do, or an occluder with
a path of its own) are cut from the same photograph. `upframe.datasets.drawing` makes
frames of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Matrices = NDArray[np.float64]
"""(T, 3, 3): from output pixels (x, y, 1), centres at whole numbers, into the
photograph, up to a factor."""


class MotionConfig(BaseModel):
    """What cameras and layers do; all lengths in output pixels."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    still: float = Field(default=0.05, ge=0, le=1)
    """Part of the clips whose camera does not move."""
    speed: float = Field(default=6.0, ge=0)
    """Fastest pan, pixels per frame; slow ones are likelier (the square of a uniform
    draw)."""
    acceleration: float = Field(default=0.3, ge=0)
    """Largest change of the pan per frame, pixels."""
    shake: float = Field(default=0.5, ge=0)
    """Largest standard deviation of a hand-held camera's jitter, pixels."""
    zoom: float = Field(default=0.015, ge=0)
    """Largest relative change of size per frame."""
    rotation: float = Field(default=0.012, ge=0)
    """Largest turn per frame, radians."""
    perspective: float = Field(default=0.02, ge=0)
    """Largest change per frame of the depth between centre and border, relative."""
    magnification: tuple[float, float] = (1.0, 2.0)
    """Photograph pixels per output pixel; above 1 the image gets sharper."""
    parallax: float = Field(default=0.3, ge=0, le=1)
    """Part of the clips with a near layer."""
    occluder: float = Field(default=0.25, ge=0, le=1)
    """Part of the clips with a moving occluder."""


@dataclass(frozen=True)
class Layer:
    """Something in front of the background."""

    matrices: Matrices
    mask: NDArray[np.uint8]
    """(h, w) coverage 0..255 in the layer's own plane."""
    mask_matrices: Matrices
    """From output pixels into the mask."""


@dataclass(frozen=True)
class Motion:
    """All paths of one clip; `upframe.datasets.drawing.render` draws it."""

    size: tuple[int, int]
    """(height, width) of the output."""
    camera: Matrices
    layers: tuple[Layer, ...]

    def flow(self, start: int, end: int) -> NDArray[np.float64]:
        """Where the background of one frame lies in another.

        Returns:
            (H, W, 2): displacement (x, y) in pixels from frame ``start`` to ``end``.
        """
        step = np.linalg.inv(self.camera[end]) @ self.camera[start]
        y, x = np.mgrid[: self.size[0], : self.size[1]].astype(np.float64)
        moved = np.stack([x, y, np.ones_like(x)], -1) @ step.T
        return np.asarray(moved[..., :2] / moved[..., 2:] - np.stack([x, y], -1))


def _path(
    rng: np.random.Generator, config: MotionConfig, frames: int, size: tuple[int, int]
) -> Matrices:
    """Camera motion in output pixels around the image's centre, first frame identity
    but for shake: (T, 3, 3)."""
    t = np.arange(frames, dtype=np.float64)
    direction = rng.uniform(0, 2 * np.pi)
    speed = config.speed * rng.random() ** 2
    change = rng.uniform(-1, 1, 2) * config.acceleration
    pan = np.outer(t, [np.cos(direction), np.sin(direction)]) * speed
    pan += np.outer(t * t / 2, change)
    shake = rng.standard_normal((frames, 2)) * config.shake * rng.random() ** 2
    # Kernel of three frames: a hand does not jump.
    shake = (shake + np.roll(shake, 1, 0)) / np.sqrt(2)
    pan += shake
    zoom = np.exp(t * config.zoom * rng.uniform(-1, 1) ** 3)
    turn = t * config.rotation * rng.uniform(-1, 1) ** 3
    tilt = np.outer(t, rng.uniform(-1, 1, 2) ** 3 * config.perspective)
    tilt /= max(size) / 2
    matrices = np.zeros((frames, 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = zoom * np.cos(turn)
    matrices[:, 0, 1], matrices[:, 1, 0] = -zoom * np.sin(turn), zoom * np.sin(turn)
    matrices[:, :2, 2] = pan
    matrices[:, 2, :2] = tilt
    matrices[:, 2, 2] = 1
    return matrices


def translation(x: float, y: float) -> Matrices:
    """(3, 3) that moves points by (x, y)."""
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def corners(matrices: Matrices, size: tuple[int, int]) -> NDArray[np.float64]:
    """(T, 4, 2): where the output's corners fall: left top, left bottom, right top,
    right bottom, each a pixel outside."""
    height, width = size
    points = np.array(
        [[x, y, 1.0] for x in (-1, width) for y in (-1, height)], np.float64
    )
    at = points @ matrices.transpose(0, 2, 1)
    return np.asarray(at[..., :2] / at[..., 2:])


def _placed(
    rng: np.random.Generator,
    path: Matrices,
    factor: float,
    size: tuple[int, int],
    photograph: tuple[int, int],
) -> Matrices:
    """A path laid somewhere into a photograph so that it stays inside where it can."""
    centred = path @ translation(-(size[1] - 1) / 2, -(size[0] - 1) / 2)
    scaled = np.diag([factor, factor, 1.0]) @ centred
    at = corners(scaled, size).reshape(-1, 2)
    low, high = at.min(0), at.max(0)
    room = np.array([photograph[1] - 1, photograph[0] - 1]) - (high - low)
    shift = np.where(room > 0, rng.random(2) * room, room / 2) - low
    return np.asarray(translation(*shift) @ scaled)


def _silhouette(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A round blob with a wavy outline in the middle half of a (side, side) mask."""
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    outline = np.full_like(angle, 0.55)
    for wave in range(2, 7):
        outline += (
            rng.uniform(-0.2, 0.2) / wave * np.cos(wave * angle + rng.uniform(0, 6.28))
        )
    soft = np.clip((outline - distance) * side / 4 + 0.5, 0, 1)
    return np.asarray(np.round(soft * 255), np.uint8)


def _hills(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Everything below a wavy line through the middle of a (side, side) mask."""
    at = (np.arange(side) - (side - 1) / 2) / (side / 2)
    line = np.zeros_like(at)
    for wave in range(1, 9):
        line += (
            rng.uniform(-0.25, 0.25)
            / wave
            * np.cos(3 * wave * at + rng.uniform(0, 6.28))
        )
    soft = np.clip((at[:, None] - line) * side / 4 + 0.5, 0, 1)
    return np.asarray(np.round(soft * 255), np.uint8)


def draw_motion(
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    photograph: tuple[int, int],
) -> Motion:
    """Draw the paths of one clip.

    Args:
        config: what may happen.
        rng: the only random state.
        frames: length of the clip.
        size: (height, width) of the clip.
        photograph: (height, width) of the photograph; where a path does not fit inside,
            the photograph is continued by its mirror image.
    """
    factor = rng.uniform(*config.magnification)
    # A small photograph is looked at more closely rather than mirrored.
    fit = 0.9 * min(photograph[0] / size[0], photograph[1] / size[1])
    factor = max(1.0, min(factor, fit))
    still = rng.random() < config.still
    path = _path(rng, config, frames, size)
    if still:
        path = np.broadcast_to(np.eye(3), path.shape)
    camera = _placed(rng, path, factor, size, photograph)
    layers = []
    if rng.random() < config.parallax:
        # What is nearer moves faster by one factor; its texture comes from elsewhere.
        nearer = path.copy()
        nearer[:, :2, 2] *= rng.uniform(1.3, 2.5)
        side = 2 * max(size)
        mask = _hills(rng, side)
        drop = rng.uniform(-0.3, 0.3) * size[0]
        quarter = int(rng.integers(4))
        to_mask = nearer @ translation(-(size[1] - 1) / 2, -(size[0] - 1) / 2)
        to_mask = translation((side - 1) / 2, (side - 1) / 2 - drop) @ to_mask
        layers.append(
            Layer(
                _placed(rng, nearer, factor, size, photograph),
                np.ascontiguousarray(np.rot90(mask, quarter)),
                to_mask,
            )
        )
    if rng.random() < config.occluder:
        own = _path(rng, config, frames, size)
        side = int(rng.uniform(0.4, 1.0) * min(size))
        mask = _silhouette(rng, side)
        place = rng.uniform(-0.5, 0.5, 2) * (size[1], size[0])
        to_mask = own @ translation(-(size[1] - 1) / 2, -(size[0] - 1) / 2)
        centre = (side - 1) / 2
        to_mask = translation(centre - place[0], centre - place[1]) @ to_mask
        layers.append(Layer(_placed(rng, own, factor, size, photograph), mask, to_mask))
    return Motion(size, camera, tuple(layers))
