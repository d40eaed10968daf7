"""What the second-order pipeline draws from: typed ranges with the published values.

Sources: Real-ESRGAN (Wang et al., ICCVW 2021) for the stages, kernels and noise;
RealBasicVSR (Chan et al., CVPR 2022), file
``realbasicvsr_wogan_c64b20_2x30x8_lr1e-4_300k_reds.py`` of MMagic, for the video codecs
and the steps of the random walks. DOVE's ``degradation.yaml`` has the same ranges with
the steps at 0. docs/degradations.md lists them, and where this differs.
"""

from __future__ import annotations

from math import pi
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from upframe.degradations.kernels import KernelKind
from upframe.degradations.resampling import Filter
from upframe.media.codecs import Codec


class Strict(BaseModel):
    """Frozen, and refuses settings it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the lower end comes first")
    return value


def _odds(value: dict[Any, float]) -> dict[Any, float]:
    if min(value.values(), default=-1.0) < 0 or abs(sum(value.values()) - 1) > 1e-3:
        raise ValueError("probabilities must be at least 0 and add up to 1")
    return value


def _odd(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value or any(n < 3 or n % 2 == 0 for n in value):
        raise ValueError("sizes of kernels are odd, 3 or more")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lowest and highest value; drawn uniformly between them."""
Step = Annotated[float, Field(ge=0)]
"""Largest change from one frame to the next, where parameters walk."""
Odds = AfterValidator(_odds)
Probability = Annotated[float, Field(ge=0, le=1)]

_PUBLISHED_KERNELS: dict[KernelKind, float] = {
    "iso": 0.405,
    "aniso": 0.225,
    "generalized_iso": 0.108,
    "generalized_aniso": 0.027,
    "plateau_iso": 0.108,
    "plateau_aniso": 0.027,
    "sinc": 0.1,
}
_ANY_FILTER: dict[Filter, float] = {"area": 1 / 3, "bilinear": 1 / 3, "bicubic": 1 / 3}


class BlurRanges(Strict):
    """Blur by a kernel of a random kind."""

    probability: Probability = 1.0
    kinds: Annotated[dict[KernelKind, float], Odds] = _PUBLISHED_KERNELS
    sizes: Annotated[tuple[int, ...], AfterValidator(_odd)] = tuple(range(7, 22, 2))
    """Sides of the kernel in pixels, odd, equally likely."""
    sigma: Range = (0.2, 3.0)
    """Standard deviations along both axes of the ellipse, in pixels."""
    sigma_step: Step = 0.02
    angle: Range = (-pi, pi)
    """Direction of the ellipse in radians."""
    angle_step: Step = 0.31416
    beta_generalized: Range = (0.5, 4.0)
    beta_generalized_step: Step = 0.05
    beta_plateau: Range = (1.0, 2.0)
    beta_plateau_step: Step = 0.1
    cutoff: Range | None = None
    """Of sinc kernels in radians per pixel; when None pi/3 to pi, from pi/5 for kernels
    of 13 pixels and more."""
    cutoff_step: Step = 0.0628


class ResizeRanges(Strict):
    """Resize by a random factor."""

    modes: Annotated[dict[Literal["up", "down", "keep"], float], Odds]
    scale: Range
    """"up" draws from 1 to the upper end, "down" from the lower end to 1."""
    scale_step: Step
    filters: Annotated[dict[Filter, float], Odds] = _ANY_FILTER


class NoiseRanges(Strict):
    """Gaussian or Poisson noise, new in every frame."""

    gaussian_probability: Probability = 0.5
    """Else Poisson."""
    gaussian_sigma: Range = (1.0, 30.0)
    """Of 255."""
    gaussian_sigma_step: Step = 0.1
    poisson_scale: Range = (0.05, 3.0)
    """Multiple of the noise of photons at the image's number of levels."""
    poisson_scale_step: Step = 0.005
    grey_probability: Probability = 0.4
    """The same noise in all channels."""


class JpegRanges(Strict):
    """JPEG of each frame."""

    quality: Range = (30.0, 95.0)
    """libjpeg's 1..100."""
    quality_step: Step = 3.0


class VideoRanges(Strict):
    """A video codec over the whole clip."""

    codecs: Annotated[dict[Codec, float], Odds] = {
        "libx264": 0.5,
        "libx265": 1 / 6,
        "mpeg4": 1 / 3,
    }
    bit_rate_probability: Probability = 0.5
    """Else constant quality."""
    bits_per_pixel: Range = (0.15, 1.5)
    """RealBasicVSR's 10 to 100 kbit a frame, over 256x256 pixels."""
    crf: Range = (18.0, 35.0)
    """x264 and x265."""
    quantiser: Range = (2.0, 12.0)
    """MPEG-4, 1..31."""


class StageRanges(Strict):
    """One of the two orders: blur, resize, noise, JPEG."""

    blur: BlurRanges
    resize: ResizeRanges
    noise: NoiseRanges
    jpeg: JpegRanges = JpegRanges()


FIRST = StageRanges(
    blur=BlurRanges(),
    resize=ResizeRanges(
        modes={"up": 0.2, "down": 0.7, "keep": 0.1}, scale=(0.15, 1.5), scale_step=0.015
    ),
    noise=NoiseRanges(),
)
"""The first order, as published."""

SECOND = StageRanges(
    blur=BlurRanges(probability=0.8, sigma=(0.2, 1.5)),
    resize=ResizeRanges(
        modes={"up": 0.3, "down": 0.4, "keep": 0.3}, scale=(0.3, 1.2), scale_step=0.03
    ),
    noise=NoiseRanges(gaussian_sigma=(1.0, 25.0), poisson_scale=(0.05, 2.5)),
)
"""The second order, as published."""

FINAL_SINC = BlurRanges(probability=0.8, kinds={"sinc": 1.0}, cutoff=(pi / 3, pi))
"""The last filter, as published."""


class RealConfig(Strict):
    """The second-order pipeline for clips."""

    name: Literal["real"] = "real"
    temporal: Literal["constant", "walk"] = "constant"
    """``constant``: every parameter holds for the whole clip. ``walk``: it changes from
    frame to frame by up to its ``*_step`` and stays in its range."""
    first: StageRanges = FIRST
    first_video: VideoRanges | None = VideoRanges()
    """The codec between the two orders; None leaves it out."""
    second: StageRanges = SECOND
    final_sinc: BlurRanges = FINAL_SINC
    final_filters: Annotated[dict[Filter, float], Odds] = _ANY_FILTER
    """Of the resize to the final size."""
    final_video: VideoRanges | None = VideoRanges()
    """The codec at the end, before or after the last resize and filter with equal
    probability; None leaves it out."""


class BIConfig(Strict):
    """MATLAB's bicubic."""

    name: Literal["bi"] = "bi"


class BDConfig(Strict):
    """A Gaussian of sigma 1.6, then every 4th pixel."""

    name: Literal["bd"] = "bd"
