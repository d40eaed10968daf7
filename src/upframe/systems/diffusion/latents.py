"""Pictures to the latents that diffusion systems work on, and back.

Latents are the means of the encoder times ``scaling_factor``, so that they have about
unit variance. Any autoencoder of pictures will do: our `Autoencoder` or diffusers'
``AutoencoderKL``. Shared by the systems and by their stages of training.
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
        vae: an autoencoder of pictures.
        pictures: (B, 3, H, W) in [0, 1]; sides are multiples of its factor.

    Returns:
        (B, C, H / factor, W / factor), float32, without gradient.
    """
    x = (pictures * 2 - 1).to(vae.encoder.conv_in.weight.dtype)
    z: Tensor = vae.encode(x).latent_dist.mean.float() * vae.config.scaling_factor
    return z


def decode(vae: Any, z: Tensor) -> Tensor:
    """Latents (B, C, h, w) to pictures around [0, 1], not clipped, float32."""
    return run_decoder(vae, z).float() * 0.5 + 0.5


def run_decoder(vae: Any, z: Tensor) -> Tensor:
    """Latents (B, C, h, w) to pictures around [-1, 1], not clipped, of the
    autoencoder's type."""
    z = z.to(vae.decoder.conv_in.weight.dtype) / vae.config.scaling_factor
    if vae.post_quant_conv is not None:
        z = vae.post_quant_conv(z)
    out: Tensor = vae.decoder(z)
    return out


def fill(pictures: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Repeat the last row and column up to whole latents.

    Args:
        pictures: (B, 3, H, W).
        multiple: that both sides shall be of: the picture size over the latent size,
            or over that of a transformer's tokens.
        least: multiples of a side at least.

    Returns:
        (B, 3, H', W'), both sides multiples, and ``least`` of it or more.
    """
    height, width = (
        max(-(-side // multiple), least) * multiple for side in pictures.shape[-2:]
    )
    right, down = width - pictures.shape[-1], height - pictures.shape[-2]
    if not right and not down:  # padding would copy it
        return pictures
    return F.pad(pictures, (0, right, 0, down), mode="replicate")


def trim(pictures: Tensor, factor: int) -> Tensor:
    """Leave out the last rows and columns that make no whole latent.

    Args:
        pictures: (..., H, W).
        factor: picture size over latent size.

    Returns:
        (..., H', W'), both sides multiples of ``factor``; a view.
    """
    height, width = (side - side % factor for side in pictures.shape[-2:])
    return pictures[..., :height, :width]
