"""Colour correction: what a diffusion model paints takes its colours from the input.

Both ways are those of StableSR (Wang et al., IJCV 2024), which the one-step models
inherit. Each frame is corrected for itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 5
_EPSILON = 1e-5


def adain(picture: Tensor, reference: Tensor) -> Tensor:
    """Give each channel the mean and the spread of the reference.

    Adaptive instance normalisation, Huang and Belongie, ICCV 2017.

    Args:
        picture: (B, C, H, W), any range.
        reference: (B, C, h, w), the same range.

    Returns:
        (B, C, H, W); may leave the range.
    """
    mean, spread = _statistics(picture)
    wanted_mean, wanted_spread = _statistics(reference)
    return (picture - mean) / spread * wanted_spread + wanted_mean


def wavelet(picture: Tensor, reference: Tensor) -> Tensor:
    """Keep the picture's detail, take everything coarse from the reference.

    An à trous wavelet of five levels: blurs with a 3×3 binomial kernel whose taps are
    1, 2, 4, 8 and 16 pixels apart. What all of them together leave is coarse.

    Args:
        picture: (B, C, H, W), any range.
        reference: (B, C, H, W), the same range.

    Returns:
        (B, C, H, W); may leave the range.
    """
    return picture - coarse(picture) + coarse(reference)


def coarse(picture: Tensor) -> Tensor:
    """The lowest band of `wavelet`, (B, C, H, W); edges repeat."""
    channels = picture.shape[1]
    taps = torch.tensor([0.25, 0.5, 0.25], dtype=picture.dtype, device=picture.device)
    across = taps.expand(channels, 1, 1, 3)
    down = across.transpose(-2, -1)
    for level in range(_LEVELS):
        step = 2**level
        picture = F.pad(picture, (step, step, step, step), mode="replicate")
        picture = F.conv2d(picture, across, groups=channels, dilation=(1, step))
        picture = F.conv2d(picture, down, groups=channels, dilation=(step, 1))
    return picture


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(-2, -1), keepdim=True)
    return mean, (variance + _EPSILON).sqrt()
