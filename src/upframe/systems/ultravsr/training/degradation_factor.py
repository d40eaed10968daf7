"""The target of the degradation estimator.

UltraVSR reads the latent of a degraded frame as the clean one after some diffusion:
``z_LR = √d · z_HR + √(1-d) · noise``. For standardised latents and noise that has
nothing to do with the image, √d is the correlation of z_LR with z_HR, whatever the
degradation was. The paper takes the score of CLIP-IQA instead, which needs no clean
image but was trained for something else.
"""

from __future__ import annotations

from torch import Tensor

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
