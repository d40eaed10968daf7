"""The steps of a degradation with every parameter fixed, and how each is carried out.

An operation holds all that was drawn for it, one value per frame where a parameter may
walk, so a list of operations, dumped as JSON, repeats a degradation exactly.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from upframe.degradations.kernels import (
    KernelKind,
    filter_clip,
    gaussian_kernel,
    sinc_kernel,
)
from upframe.degradations.ranges import Strict
from upframe.degradations.resampling import Filter, resize_clip
from upframe.errors import MissingExtraError, UsageError
from upframe.media.codecs import Codec

Clip = NDArray[np.float32]
"""(T, H, W, 3) in [0, 1]."""
PerFrame = tuple[float, ...]
"""One value per frame of the clip."""


class Blur(Strict):
    """A Gaussian-like kernel per frame."""

    op: Literal["blur"] = "blur"
    kind: KernelKind
    size: int
    sigma_x: PerFrame
    sigma_y: PerFrame
    angle: PerFrame
    beta: PerFrame

    def kernels(self) -> list[NDArray[np.float64]]:
        """The kernel of each frame; a single one where all are equal."""
        values = zip(self.sigma_x, self.sigma_y, self.angle, self.beta, strict=True)
        return _per_frame(
            list(values), lambda v: gaussian_kernel(self.kind, self.size, *v)
        )

    def apply(self, clip: Clip) -> Clip:
        """Filter; the shape stays."""
        return _clip(filter_clip(clip, self.kernels()))


class Sinc(Strict):
    """A ringing low-pass per frame."""

    op: Literal["sinc"] = "sinc"
    size: int
    cutoff: PerFrame

    def kernels(self) -> list[NDArray[np.float64]]:
        """The kernel of each frame; a single one where all are equal."""
        return _per_frame(list(self.cutoff), lambda v: sinc_kernel(self.size, v))

    def apply(self, clip: Clip) -> Clip:
        """Filter; the shape stays."""
        return _clip(filter_clip(clip, self.kernels()))


class Resize(Strict):
    """Each frame to its size, then all to the size of the first."""

    op: Literal["resize"] = "resize"
    filter: Filter
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each frame."""

    def apply(self, clip: Clip) -> Clip:
        """(T, *sizes[0], 3)."""
        target = self.sizes[0]
        if len(set(self.sizes)) == 1:
            return _clip(resize_clip(clip, target, self.filter))
        frames = []
        for number, size in enumerate(self.sizes):
            frame = resize_clip(clip[number : number + 1], size, self.filter)
            frames.append(resize_clip(frame, target, "bilinear"))
        return _clip(np.concatenate(frames))


class Noise(Strict):
    """Noise that is new in every frame."""

    op: Literal["noise"] = "noise"
    kind: Literal["gaussian", "poisson"]
    grey: bool
    strength: PerFrame
    """Gaussian: sigma of 255; Poisson: multiple of the photon noise."""
    seed: int
    """Of the generator that draws the noise."""

    def apply(self, clip: Clip) -> Clip:
        """Add it; the shape stays."""
        rng = np.random.default_rng(self.seed)
        strength = np.asarray(self.strength, np.float32)[:, None, None, None]
        channels = 1 if self.grey else 3
        if self.kind == "gaussian":
            noise = rng.standard_normal((*clip.shape[:3], channels), np.float32)
            return _clip(clip + noise * (strength / 255))
        levels = quantise(clip)
        if self.grey:
            luma = levels @ np.array([0.299, 0.587, 0.114], np.float32)
            levels = np.floor(luma + 0.5).astype(np.uint8)[..., None]
        noise = np.empty(levels.shape, np.float32)
        for number, frame in enumerate(levels):
            # Real-ESRGAN: as many photons at white as the next power of two above the
            # number of distinct levels.
            distinct = np.count_nonzero(np.bincount(frame.ravel(), minlength=256))
            photons = 2.0 ** np.ceil(np.log2(distinct))
            light = frame / 255.0
            noise[number] = rng.poisson(light * photons) / photons - light
        return _clip(clip + noise * strength)


class Jpeg(Strict):
    """JPEG of each frame, 4:2:0."""

    op: Literal["jpeg"] = "jpeg"
    quality: tuple[int, ...]
    """libjpeg's 1..100, per frame."""

    def apply(self, clip: Clip) -> Clip:
        """Compress and decompress; the shape stays."""
        try:
            from PIL import Image
        except ImportError as error:
            raise MissingExtraError("JPEG degradation", "train") from error
        frames = []
        for pixels, quality in zip(quantise(clip), self.quality, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
            with Image.open(buffer) as image:
                frames.append(np.asarray(image, np.uint8))
        return _unit(np.stack(frames))


class Video(Strict):
    """A video codec over the clip."""

    op: Literal["video"] = "video"
    codec: Codec
    quality: float | None
    """CRF, or the quantiser of MPEG-4; None with a bit rate."""
    bits_per_pixel: float | None
    """Average rate; None with a quality."""

    def apply(self, clip: Clip) -> Clip:
        """Compress and decompress; the shape stays."""
        try:
            from upframe.media.recode import recode
        except ImportError as error:
            raise UsageError(
                "Degradations with a video codec need PyAV, which is not installed.",
                "Install it (pip install av), or set first_video and final_video of "
                "the degradation to null.",
            ) from error
        out = recode(
            quantise(clip),
            self.codec,
            quality=self.quality,
            bits_per_pixel=self.bits_per_pixel,
        )
        return _unit(out)


Operation = Annotated[
    Blur | Sinc | Resize | Noise | Jpeg | Video, Field(discriminator="op")
]


def quantise(clip: Clip) -> NDArray[np.uint8]:
    """[0, 1] floats to 0..255, halves rounded up."""
    scaled = np.clip(clip, 0, 1) * np.float32(255) + np.float32(0.5)
    return np.asarray(scaled, dtype=np.uint8)


def _unit(clip: NDArray[np.uint8]) -> Clip:
    return np.asarray(clip.astype(np.float32) / np.float32(255), np.float32)


def _clip(clip: NDArray[np.floating]) -> Clip:
    return np.asarray(np.clip(clip, 0, 1), np.float32)


def _per_frame(
    values: Sequence[Any], make: Callable[[Any], NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    if all(value == values[0] for value in values):
        return [make(values[0])]
    return [make(value) for value in values]
