"""The target of the degradation estimator.

UltraVSR reads the latent of a degraded frame as the clean one after some diffusion:
``z_LR = √d · z_HR + √(1-d) · noise``. For standardised latents and noise that has
nothing to do with the image, √d is the correlation of z_LR with z_HR, whatever the
degradation was. The paper takes the score of CLIP-IQA instead, which needs no clean
image but was trained for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upframe.degradations.ranges import BDConfig, BIConfig, RealConfig
from upframe.degradations.registry import degrade
from upframe.nn.images import upsample

_LEAST = 1e-8


def latent_correlation(clean: Tensor, degraded: Tensor) -> Tensor:
    """The estimator's target, √d.

    Args:
        clean: (B, C, h, w), latents of clean images.
        degraded: (B, C, h, w), of the same images degraded and upsampled.

    Returns:
        (B,) in [0, 1]: Pearson's correlation, each channel centred for itself, all
        channels together; 0 where it is negative or one of the two is flat.
    """
    a, b = (
        (x - x.mean((-2, -1), keepdim=True)).flatten(1).double()
        for x in (clean, degraded)
    )
    shared = (a * b).sum(1)
    lengths = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return (shared / lengths.clamp_min(_LEAST)).clamp(0, 1).float()


@dataclass(frozen=True)
class FactorExample:
    """One batch for the estimator."""

    images: Tensor
    """(T, 3, H, W) in [0, 1], degraded and upsampled."""
    target: Tensor
    """(T,) in [0, 1]."""


@torch.no_grad()
def factor_example(
    clip: NDArray[np.uint8],
    config: BIConfig | BDConfig | RealConfig,
    scale: int,
    rng: np.random.Generator,
    encode: Callable[[Tensor], Tensor],
) -> FactorExample:
    """Degrade a clean clip and compute the estimator's target.

    Args:
        clip: (T, H, W, 3) uint8; H and W are multiples of the scale and of the
            autoencoder's factor.
        config: which degradation.
        scale: integer factor.
        rng: the only source of randomness.
        encode: images (T, 3, H, W) in [0, 1] to latents (T, C, h, w), without noise:
            the mean of the posterior.
    """
    low = degrade(config, clip, scale, rng)
    clean, small = (
        torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2).float() / 255
        for x in (clip, low)
    )
    images = upsample(small, scale)
    return FactorExample(images, latent_correlation(encode(clean), encode(images)))
