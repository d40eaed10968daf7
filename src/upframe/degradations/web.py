"""Clips as people download them: reduced by some tool, then compressed once or twice.

``draw`` makes the fixed :class:`~upframe.degradations.real.Parameters` of one of three
kinds of clips, in the shares of :class:`WebConfig`:

* clean: reduced with a random kernel, never compressed;
* compressed: sometimes a codec at full size (a compressed source), in half of the clips
  light blur and noise, the reduction with a random kernel, sometimes in two steps, then
  one or two codecs;
* heavy: the second-order pipeline of :mod:`upframe.degradations.real`.

Parameters hold for the whole clip.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import model_validator

from upframe.degradations.drawer import Drawer
from upframe.degradations.operations import Blur, Noise, Video
from upframe.degradations.ranges import (
    Odds,
    Probability,
    Range,
    RealConfig,
    Strict,
)
from upframe.degradations.real import Parameters
from upframe.degradations.real import draw as draw_heavy
from upframe.degradations.resampling import Filter
from upframe.media.codecs import Codec

_FILTERS: dict[Filter, float] = {
    "bicubic_antialiased": 0.3,
    "area": 0.15,
    "lanczos3_antialiased": 0.15,
    "bilinear_antialiased": 0.15,
    "bicubic": 0.15,
    "bilinear": 0.1,
}
_CODECS: dict[Codec, float] = {
    "libx264": 0.5,
    "libx265": 0.15,
    "libvpx-vp9": 0.15,
    "mpeg4": 0.1,
    "mpeg2video": 0.1,
}
_QUALITIES: dict[Codec, Range] = {
    "libx264": (18.0, 34.0),
    "libx265": (18.0, 34.0),
    "libvpx-vp9": (20.0, 48.0),
    "mpeg2video": (2.0, 9.0),
    "mpeg4": (2.0, 9.0),
}


class WebConfig(Strict):
    """Ordinary web video."""

    name: Literal["web"] = "web"
    clean: Probability = 0.15
    """Share of the clips that are only reduced."""
    heavy: Probability = 0.2
    """Share of the clips that the second-order pipeline degrades."""
    filters: Annotated[dict[Filter, float], Odds] = _FILTERS
    """Kernels of the reduction."""
    two_steps: Probability = 0.25
    """Share of the compressed clips that are reduced twice, with two kernels."""
    soft: Probability = 0.5
    """Share of the compressed clips with light blur and noise."""
    blur_sigma: Range = (0.4, 2.0)
    """Of the Gaussian blur before the reduction, in pixels of the full size."""
    noise_sigma: Range = (0.5, 8.0)
    """Of the noise after the reduction and before the codec, of 255."""
    source_codec: Probability = 0.3
    """Share of the compressed clips that a codec compressed at full size first."""
    second_codec: Probability = 0.25
    """Share of the compressed clips that pass through two codecs in the end."""
    codecs: Annotated[dict[Codec, float], Odds] = _CODECS
    qualities: dict[Codec, Range] = _QUALITIES
    """Lowest and highest CRF, or quantiser of MPEG-2 and MPEG-4; the full size and the
    first of two codecs take the better half."""
    real: RealConfig = RealConfig()
    """Of the heavy clips."""

    @model_validator(mode="after")
    def _fits_together(self) -> WebConfig:
        if self.clean + self.heavy > 1:
            raise ValueError("clean and heavy together are at most 1")
        missing = [codec for codec in self.codecs if codec not in self.qualities]
        if missing:
            raise ValueError(f"qualities lacks {missing[0]}")
        return self


def draw(
    config: WebConfig,
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    scale: int,
) -> Parameters:
    """Draw the parameters for one clip; as :func:`upframe.degradations.real.draw`."""
    kind = rng.random()
    if kind < config.heavy:
        return draw_heavy(config.real, rng, frames, size, scale)
    final = (-(-size[0] // scale), -(-size[1] // scale))
    drawer = Drawer(rng, frames, size, final, walking=False)
    if kind < config.heavy + config.clean:
        drawer.resize_to((final,) * frames, drawer.choose(config.filters))
    else:
        _compressed(config, drawer, final)
    return Parameters(
        frames=frames,
        height=size[0],
        width=size[1],
        scale=scale,
        operations=tuple(drawer.operations),
    )


def _compressed(config: WebConfig, drawer: Drawer, final: tuple[int, int]) -> None:
    """Source codec, blur, reduction, noise, one or two codecs."""
    if drawer.occurs(config.source_codec):
        _codec(config, drawer, better=True)
    blurred = noisy = False
    if drawer.occurs(config.soft):
        # blur alone, noise alone, or both
        blurred, noisy = ((True, False), (False, True), (True, True))[
            int(drawer.rng.integers(3))
        ]
    if blurred:
        sigma = drawer.vary(config.blur_sigma, 0.0)
        rest = (0.0,) * drawer.frames, (1.0,) * drawer.frames
        drawer.operations.append(
            Blur(
                kind="iso",
                size=13,
                sigma_x=sigma,
                sigma_y=sigma,
                angle=rest[0],
                beta=rest[1],
            )
        )
    if drawer.occurs(config.two_steps):
        share = drawer.rng.uniform(0.3, 0.9)
        between = tuple(
            round(small + share * (large - small))
            for small, large in zip(final, drawer.size, strict=True)
        )
        middle = (between[0], between[1])
        drawer.resize_to((middle,) * drawer.frames, drawer.choose(config.filters))
    drawer.resize_to((final,) * drawer.frames, drawer.choose(config.filters))
    if noisy:
        low, high = config.noise_sigma
        # light noise is likelier
        noise = low + (high - low) * float(drawer.rng.random()) ** 2
        drawer.operations.append(
            Noise(
                kind="gaussian",
                grey=drawer.occurs(0.5),
                strength=(noise,) * drawer.frames,
                seed=int(drawer.rng.integers(2**32)),
            )
        )
    if drawer.occurs(config.second_codec):
        _codec(config, drawer, better=True)
    _codec(config, drawer, better=False)


def _codec(config: WebConfig, drawer: Drawer, *, better: bool) -> None:
    codec = drawer.choose(config.codecs)
    low, high = config.qualities[codec]
    quality = drawer.rng.uniform(low, (low + high) / 2 if better else high)
    drawer.operations.append(
        Video(codec=codec, quality=round(float(quality), 2), bits_per_pixel=None)
    )
