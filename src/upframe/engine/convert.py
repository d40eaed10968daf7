"""Between the frames of a file and those of a model: floats, size, depth, alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upframe.engine.driver import Output
from upframe.media.colour import Pixels
from upframe.media.frames import Frame
from upframe.nn.resize import imresize
from upframe.runtimes.base import FloatFrame


@dataclass(frozen=True)
class Result:
    """One finished frame."""

    pixels: Pixels
    """(H, W, 3 or 4), at the output size and depth."""
    frame: Frame
    """The frame it was made from."""


@dataclass(frozen=True)
class Converter:
    """Brings outputs of a model to the output size and depth."""

    size: tuple[int, int]
    """Output (height, width); outputs of another size are resized (Lanczos)."""
    deep: bool
    """Whether results are uint16 instead of uint8."""
    alpha: bool
    """Whether results are RGBA where the frames have alpha, which is resized
    (bicubic)."""

    def __call__(self, output: Output[Frame]) -> Result:
        """Convert one output."""
        return Result(self._pixels(output.pixels, output.frame), output.frame)

    def _pixels(self, output: FloatFrame, frame: Frame) -> Pixels:
        if output.shape[:2] != self.size:
            output = imresize(output, size=self.size, kernel="lanczos3")
            output = np.asarray(np.clip(output, 0, 1, out=output), np.float32)
        pixels = quantise(output, deep=self.deep)
        if not self.alpha or frame.pixels.shape[2] == 3:
            return pixels
        alpha = as_float(frame.pixels[..., 3:])
        alpha = np.asarray(imresize(alpha, size=self.size).clip(0, 1), np.float32)
        plane = quantise(alpha.reshape(*self.size, 1), deep=self.deep)
        merged: Pixels = np.concatenate([pixels, plane], axis=2)
        return merged


def frame_to_float(frame: Frame) -> FloatFrame:
    """The pixels of a frame as a model takes them, (h, w, 3) in [0, 1]."""
    return as_float(frame.pixels)


def as_float(pixels: Pixels) -> FloatFrame:
    """uint8 or uint16 pixels as RGB float32 in [0, 1]; an alpha plane is left out."""
    if pixels.shape[2] == 4:
        pixels = pixels[..., :3]
    top = 255.0 if pixels.dtype == np.uint8 else 65535.0
    out: NDArray[np.float32] = np.multiply(
        pixels, np.float32(1 / top), dtype=np.float32, order="C"
    )
    return out


def quantise(image: FloatFrame, *, deep: bool) -> Pixels:
    """Float pixels, which must be in [0, 1], rounded to uint8 or uint16."""
    scaled = image * np.float32(65535.0 if deep else 255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint16) if deep else scaled.astype(np.uint8)
