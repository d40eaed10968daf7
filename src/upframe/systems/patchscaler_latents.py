"""Pictures to the latents that PatchScaler works on, and back.

Latents are the means of the encoder times ``scaling_factor``, so that they have about
unit variance. Shared by the system and by its stages of training.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def encode(vae: Any, pictures: Tensor) -> Tensor:
    """Pictures to latents of unit variance.

    Args:
        vae: our `Autoencoder` or diffusers' ``AutoencoderKL``.
        pictures: (B, 3, H, W) in [0, 1], of the autoencoder's type; sides are multiples
            of its factor.

    Returns:
        (B, C, H / factor, W / factor), float32, without gradient.
    """
    mean = vae.encode(pictures * 2 - 1).latent_dist.mean
    z: Tensor = mean.float() * vae.config.scaling_factor
    return z


def decode(vae: Any, z: Tensor) -> Tensor:
    """Latents (B, C, h, w), of the autoencoder's type, to pictures around [0, 1], not
    clipped, float32."""
    z = z / vae.config.scaling_factor
    if vae.post_quant_conv is not None:
        z = vae.post_quant_conv(z)
    out: Tensor = vae.decoder(z).float() * 0.5 + 0.5
    return out


def fill(pictures: Tensor, factor: int, least: int = 1) -> Tensor:
    """Repeat the last row and column up to whole latents.

    Args:
        pictures: (B, 3, H, W).
        factor: picture size over latent size.
        least: latents of a side at least.

    Returns:
        (B, 3, H', W'), both sides multiples of ``factor``, and ``least`` of it or more.
    """
    height, width = (
        max(-(-side // factor), least) * factor for side in pictures.shape[-2:]
    )
    pad = (0, width - pictures.shape[-1], 0, height - pictures.shape[-2])
    return F.pad(pictures, pad, mode="replicate")
