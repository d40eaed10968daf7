"""Images to the latents that diffusion systems work on, and back.

Latents are the means of the encoder times ``scaling_factor``, so that they have about
unit variance. Any autoencoder of images will do: our `Autoencoder` or diffusers'
``AutoencoderKL``. Shared by the systems and by their stages of training.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def encode(vae: Any, images: Tensor) -> Tensor:
    """Images to latents of unit variance.

    Args:
        vae: an autoencoder of images.
        images: (B, 3, H, W) in [0, 1]; sides are multiples of its factor.

    Returns:
        (B, C, H / factor, W / factor), float32, without gradient.
    """
    x = (images * 2 - 1).to(vae.encoder.conv_in.weight.dtype)
    z: Tensor = vae.encode(x).latent_dist.mean.float() * vae.config.scaling_factor
    return z


def decode(vae: Any, z: Tensor) -> Tensor:
    """Latents (B, C, h, w) to images around [0, 1], not clipped, float32."""
    return run_decoder(vae, z).float() * 0.5 + 0.5


def run_decoder(vae: Any, z: Tensor) -> Tensor:
    """Latents (B, C, h, w) to images around [-1, 1], not clipped, of the
    autoencoder's type."""
    z = z.to(vae.decoder.conv_in.weight.dtype) / vae.config.scaling_factor
    if vae.post_quant_conv is not None:
        z = vae.post_quant_conv(z)
    out: Tensor = vae.decoder(z)
    return out


def fill(images: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Repeat the last row and column up to whole latents.

    Args:
        images: (B, 3, H, W).
        multiple: that both sides shall be of: the image size over the latent size,
            or over that of a transformer's tokens.
        least: multiples of a side at least.

    Returns:
        (B, 3, H', W'), both sides multiples, and ``least`` of it or more.
    """
    height, width = (
        max(-(-side // multiple), least) * multiple for side in images.shape[-2:]
    )
    right, down = width - images.shape[-1], height - images.shape[-2]
    if not right and not down:  # padding would copy it
        return images
    return F.pad(images, (0, right, 0, down), mode="replicate")


def trim(images: Tensor, factor: int) -> Tensor:
    """Leave out the last rows and columns that make no whole latent.

    Args:
        images: (..., H, W).
        factor: image size over latent size.

    Returns:
        (..., H', W'), both sides multiples of ``factor``; a view.
    """
    height, width = (side - side % factor for side in images.shape[-2:])
    return images[..., :height, :width]
