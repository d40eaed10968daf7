"""Draws the operations of a degradation one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any, TypeVar

import numpy as np

from upframe.degradations.operations import (
    Blur,
    Jpeg,
    Noise,
    PerFrame,
    Resize,
    Sinc,
    Video,
)
from upframe.degradations.ranges import (
    BlurRanges,
    NoiseRanges,
    Range,
    ResizeRanges,
    StageRanges,
    VideoRanges,
)
from upframe.degradations.resampling import Filter

Choice = TypeVar("Choice", bound=str)


def walk(
    rng: np.random.Generator, range: Range, step: float, frames: int
) -> tuple[float, ...]:
    """A parameter over time: drawn once, then changed by up to ``step`` per frame.

    Args:
        rng: the random state.
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


class Drawer:
    """Draws operations one after the other, following the size of the clip.

    Args:
        rng: the only random state.
        frames: of the clip.
        size: (height, width) of the clip at the beginning.
        least: (height, width) below which no resize goes.
        walking: whether parameters change from frame to frame.
    """

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

    def occurs(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return bool(self.rng.random() < probability)

    def choose(self, odds: Mapping[Choice, float]) -> Choice:
        """One of the names, by their odds."""
        names = list(odds)
        weights = np.array([odds[name] for name in names])
        return names[int(self.rng.choice(len(names), p=weights / weights.sum()))]

    def vary(self, range: Range, step: float) -> PerFrame:
        """A parameter over time; constant unless the parameters walk."""
        return walk(self.rng, range, step if self.walking else 0.0, self.frames)

    def stage(self, ranges: StageRanges) -> None:
        """Blur, resize, noise, JPEG."""
        self.blur(ranges.blur)
        self.resize(ranges.resize)
        self.noise(ranges.noise)
        quality = self.vary(ranges.jpeg.quality, ranges.jpeg.quality_step)
        self.operations.append(Jpeg(quality=tuple(round(q) for q in quality)))

    def blur(self, ranges: BlurRanges) -> None:
        """Blur or sinc by a kernel of a random kind, with the given probability."""
        if not self.occurs(ranges.probability):
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
        """Resize by a random factor."""
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
        """Resize to given sizes, one for each frame."""
        self.operations.append(Resize(filter=name, sizes=sizes))
        self.size = sizes[0]

    def noise(self, ranges: NoiseRanges) -> None:
        """Gaussian or Poisson noise."""
        gaussian = self.occurs(ranges.gaussian_probability)
        grey = self.occurs(ranges.grey_probability)
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
        """A codec at a random rate or quality; none without ranges."""
        if ranges is None:
            return
        codec = self.choose(ranges.codecs)
        rate = quality = None
        if self.occurs(ranges.bit_rate_probability):
            rate = float(self.rng.uniform(*ranges.bits_per_pixel))
        else:
            span = ranges.quantiser if codec == "mpeg4" else ranges.crf
            quality = round(float(self.rng.uniform(*span)), 2)
        self.operations.append(Video(codec=codec, quality=quality, bits_per_pixel=rate))
