"""The second-order real-world degradation of clips.

``draw`` turns ranges and a generator into fixed `Parameters`; ``apply`` carries them
out. Order, after RealBasicVSR (Chan et al., CVPR 2022)::

    blur, resize, noise, JPEG, video codec,
    blur, resize, noise, JPEG, {video codec | resize to the final size, sinc} shuffled

The result depends on the parameters and the clip alone. Across machines the codecs'
and transforms' last bit may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, pi
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from upframe.degradations.operations import (
    Blur,
    Jpeg,
    Noise,
    Operation,
    PerFrame,
    Resize,
    Sinc,
    Video,
    quantise,
)
from upframe.degradations.ranges import (
    BlurRanges,
    NoiseRanges,
    Range,
    RealConfig,
    ResizeRanges,
    StageRanges,
    Strict,
    VideoRanges,
)
from upframe.degradations.resampling import Filter

_LEAST_SHARE = 0.3
"""Of the final size, the smallest that a clip may become on the way: Real-ESRGAN's
bound. Both orders' factors together would go to 0.045 of the original, where nothing is
left to restore."""

Choice = TypeVar("Choice", bound=str)


class Parameters(Strict):
    """Everything that was drawn for one clip; ``model_dump_json`` keeps it."""

    frames: int
    height: int
    """Of the high-resolution clip."""
    width: int
    scale: int
    operations: tuple[Operation, ...]


def walk(
    rng: np.random.Generator, range: Range, step: float, frames: int
) -> tuple[float, ...]:
    """A parameter over time: drawn once, then changed by up to ``step`` per frame.

    Args:
        rng: the source of chance.
        range: lowest and highest value, never left.
        step: largest change between neighbours; 0 keeps the value.
        frames: length of the result.
    """
    low, high = range
    value = float(rng.uniform(low, high))
    if step == 0:
        return (value,) * frames
    values = [value]
    for change in rng.uniform(-step, step, frames - 1):
        values.append(float(np.clip(values[-1] + change, low, high)))
    return tuple(values)


class _Drawer:
    """Draws operations one after the other, following the size of the clip."""

    def __init__(
        self,
        rng: np.random.Generator,
        frames: int,
        size: tuple[int, int],
        least: tuple[int, int],
        walking: bool,
    ) -> None:
        self.rng, self.frames, self.size, self.least = rng, frames, size, least
        self.walking = walking
        self.operations: list[Any] = []

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, odds: Mapping[Choice, float]) -> Choice:
        names = list(odds)
        weights = np.array([odds[name] for name in names])
        return names[int(self.rng.choice(len(names), p=weights / weights.sum()))]

    def vary(self, range: Range, step: float) -> PerFrame:
        return walk(self.rng, range, step if self.walking else 0.0, self.frames)

    def stage(self, ranges: StageRanges) -> None:
        self.blur(ranges.blur)
        self.resize(ranges.resize)
        self.noise(ranges.noise)
        quality = self.vary(ranges.jpeg.quality, ranges.jpeg.quality_step)
        self.operations.append(Jpeg(quality=tuple(round(q) for q in quality)))

    def blur(self, ranges: BlurRanges) -> None:
        if not self.chance(ranges.probability):
            return
        kind = self.choose(ranges.kinds)
        size = int(self.rng.choice(ranges.sizes))
        if kind == "sinc":
            cutoff = ranges.cutoff or (pi / 3 if size < 13 else pi / 5, pi)
            values = self.vary(cutoff, ranges.cutoff_step)
            self.operations.append(Sinc(size=size, cutoff=values))
            return
        beta = (1.0,) * self.frames
        if kind.startswith("generalized"):
            beta = self.vary(ranges.beta_generalized, ranges.beta_generalized_step)
        elif kind.startswith("plateau"):
            beta = self.vary(ranges.beta_plateau, ranges.beta_plateau_step)
        sigma_x = self.vary(ranges.sigma, ranges.sigma_step)
        sigma_y, angle = sigma_x, (0.0,) * self.frames
        if kind.endswith("aniso"):
            sigma_y = self.vary(ranges.sigma, ranges.sigma_step)
            angle = self.vary(ranges.angle, ranges.angle_step)
        self.operations.append(
            Blur(
                kind=kind,
                size=size,
                sigma_x=sigma_x,
                sigma_y=sigma_y,
                angle=angle,
                beta=beta,
            )
        )

    def resize(self, ranges: ResizeRanges) -> None:
        mode = self.choose(ranges.modes)
        name = self.choose(ranges.filters)
        low, high = ranges.scale
        span = {"up": (1.0, high), "down": (low, 1.0), "keep": (1.0, 1.0)}[mode]
        factor = float(self.rng.uniform(*span))
        # The walk may leave the span of the mode, though not the whole range.
        step = ranges.scale_step if self.walking else 0.0
        factors = [factor]
        for change in self.rng.uniform(-step, step, self.frames - 1):
            factors.append(float(np.clip(factors[-1] + change, low, high)))
        sizes = tuple(
            (
                max(self.least[0], int(self.size[0] * f)),
                max(self.least[1], int(self.size[1] * f)),
            )
            for f in factors
        )
        self.resize_to(sizes, name)

    def resize_to(self, sizes: tuple[tuple[int, int], ...], name: Filter) -> None:
        self.operations.append(Resize(filter=name, sizes=sizes))
        self.size = sizes[0]

    def noise(self, ranges: NoiseRanges) -> None:
        gaussian = self.chance(ranges.gaussian_probability)
        grey = self.chance(ranges.grey_probability)
        if gaussian:
            strength = self.vary(ranges.gaussian_sigma, ranges.gaussian_sigma_step)
        else:
            strength = self.vary(ranges.poisson_scale, ranges.poisson_scale_step)
        self.operations.append(
            Noise(
                kind="gaussian" if gaussian else "poisson",
                grey=grey,
                strength=strength,
                seed=int(self.rng.integers(2**32)),
            )
        )

    def video(self, ranges: VideoRanges | None) -> None:
        if ranges is None:
            return
        codec = self.choose(ranges.codecs)
        rate = quality = None
        if self.chance(ranges.bit_rate_probability):
            rate = float(self.rng.uniform(*ranges.bits_per_pixel))
        else:
            span = ranges.quantiser if codec == "mpeg4" else ranges.crf
            quality = round(float(self.rng.uniform(*span)), 2)
        self.operations.append(Video(codec=codec, quality=quality, bits_per_pixel=rate))


def draw(
    config: RealConfig,
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    scale: int,
) -> Parameters:
    """Draw the parameters for one clip.

    Args:
        config: the ranges.
        rng: the only source of chance.
        frames: length of the clip, at least 1.
        size: (height, width) of the high-resolution clip.
        scale: integer factor; the result is ``ceil`` of the size over it.
    """
    final = (-(-size[0] // scale), -(-size[1] // scale))
    least = (ceil(final[0] * _LEAST_SHARE), ceil(final[1] * _LEAST_SHARE))
    drawer = _Drawer(rng, frames, size, least, config.temporal == "walk")
    drawer.stage(config.first)
    drawer.video(config.first_video)
    drawer.stage(config.second)
    codec_first = drawer.chance(0.5)
    if codec_first:
        drawer.video(config.final_video)
    drawer.resize_to((final,) * frames, drawer.choose(config.final_filters))
    drawer.blur(config.final_sinc)
    if not codec_first:
        drawer.video(config.final_video)
    return Parameters(
        frames=frames,
        height=size[0],
        width=size[1],
        scale=scale,
        operations=tuple(drawer.operations),
    )


def apply(
    parameters: Parameters, clip: NDArray[np.uint8] | NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Degrade a clip with fixed parameters.

    Args:
        parameters: from `draw`, or read back from JSON.
        clip: (T, H, W, 3), uint8 or float32 in [0, 1], of the size that the parameters
            were drawn for.

    Returns:
        (T, ceil(H / scale), ceil(W / scale), 3) uint8.

    Raises:
        ValueError: if the clip has another size.
        MissingExtraError: if Pillow is not installed (JPEG).
    """
    expected = (parameters.frames, parameters.height, parameters.width, 3)
    if clip.shape != expected:
        raise ValueError(f"drawn for a clip {expected}, got {clip.shape}")
    work = clip.astype(np.float32)
    if clip.dtype == np.uint8:
        work /= 255
    for operation in parameters.operations:
        work = operation.apply(work)
    return quantise(work)
