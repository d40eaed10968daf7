"""Colour correction: what a diffusion model paints takes its colours from the input.

Both ways are those of StableSR (Wang et al., IJCV 2024), which the one-step models
inherit. Each frame is corrected for itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 5
_EPSILON = 1e-5


def adain(image: Tensor, reference: Tensor) -> Tensor:
    """Give each channel the mean and the spread of the reference.

    Adaptive instance normalisation, Huang and Belongie, ICCV 2017.

    Args:
        image: (B, C, H, W), any range.
        reference: (B, C, h, w), the same range.

    Returns:
        (B, C, H, W); may leave the range.
    """
    mean, spread = _statistics(image)
    wanted_mean, wanted_spread = _statistics(reference)
    return (image - mean) / spread * wanted_spread + wanted_mean


def wavelet(image: Tensor, reference: Tensor) -> Tensor:
    """Keep the image's detail, take everything coarse from the reference.

    An à trous wavelet of five levels: blurs with a 3×3 binomial kernel whose taps are
    1, 2, 4, 8 and 16 pixels apart. What all of them together leave is coarse.

    Args:
        image: (B, C, H, W), any range.
        reference: (B, C, H, W), the same range.

    Returns:
        (B, C, H, W); may leave the range.
    """
    return image + coarse(reference - image)


def coarse(image: Tensor) -> Tensor:
    """The lowest band of `wavelet`, (B, C, H, W); edges repeat.

    The blur goes along rows and along columns, and its taps of 1, 2 and 1 are a sum of
    neighbours taken twice: sums of shifted images are all it takes.
    """
    for dim in (-1, -2):
        for level in range(_LEVELS):
            image = _sums(image, 2**level, dim)
        image = image.mul_(0.25**_LEVELS)
    return image


def _sums(image: Tensor, step: int, dim: int) -> Tensor:
    """Taps of 1, 2, 1, ``step`` pixels apart, along an axis."""
    size = image.shape[dim]
    first, last = image.narrow(dim, 0, 1), image.narrow(dim, size - 1, 1)
    edges = [-1] * image.dim()
    edges[dim] = step
    wide = torch.cat((first.expand(edges), image, last.expand(edges)), dim)
    pairs = wide.narrow(dim, 0, size + step) + wide.narrow(dim, step, size + step)
    return pairs.narrow(dim, 0, size) + pairs.narrow(dim, step, size)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(-2, -1), keepdim=True)
    return mean, (variance + _EPSILON).sqrt()
