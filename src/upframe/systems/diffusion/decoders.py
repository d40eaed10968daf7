"""What turns OASIS's latents into frames, one latent frame at a time.

`WanDecoder` gives, latent for latent, what diffusers' ``AutoencoderKLWan.decode`` gives
for the whole clip: that decoder is causal, and this carries its caches from call to
call instead of clearing them, so memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import factor_of
from upframe.systems.diffusion.latents import run_decoder

Decode = Callable[[Tensor], Tensor]
"""(B, C, 1, h, w), the next latent frame, normalised, to (B, t, 3, H, W) around
[-1, 1]: t = 1 for the first of a clip, ``temporal`` for the others."""


class Decoder(Protocol):
    """A frozen decoder."""

    spatial: int
    """Image size over latent size."""
    temporal: int
    """Frames of a latent frame other than the first, which holds one."""
    channels: int
    """Of latents."""

    def start(self) -> Decode:
        """What decodes a new clip from its first latent frame on."""
        ...


class WanDecoder:
    """The decoder of diffusers' ``AutoencoderKLWan``.

    Args:
        vae: the autoencoder.
    """

    def __init__(self, vae: Any) -> None:
        config = vae.config
        self.vae = vae
        self.spatial = 2 ** (len(config.dim_mult) - 1) * (config.patch_size or 1)
        self.temporal = int(2 ** sum(config.temperal_downsample))
        self.channels = int(config.z_dim)
        if not len(config.latents_mean) == len(config.latents_std) == self.channels:
            raise WeightsError(
                f"The autoencoder has latents of {self.channels} channels, but means "
                f"and deviations of {len(config.latents_mean)} and "
                f"{len(config.latents_std)}.",
                "Correct latents_mean and latents_std in its config.json.",
            )

    def start(self) -> Decode:
        """What decodes a new clip."""
        config = self.vae.config
        caches: list[Tensor | None] = [None] * self._cached_layers()
        first = True

        def decode(latent: Tensor) -> Tensor:
            nonlocal first
            z = latent.to(self.vae.decoder.conv_in.weight.dtype)
            z = z * _per_channel(config.latents_std, z)
            z = z + _per_channel(config.latents_mean, z)
            z = self.vae.post_quant_conv(z)
            out: Tensor = self.vae.decoder(
                z, feat_cache=caches, feat_idx=[0], first_chunk=first
            )
            first = False
            if config.patch_size is not None:
                from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

                out = unpatchify(out, patch_size=config.patch_size)
            return out.transpose(1, 2)

        return decode

    def _cached_layers(self) -> int:
        from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

        layers = self.vae.decoder.modules()
        return sum(isinstance(layer, WanCausalConv3d) for layer in layers)


class FrameDecoder:
    """A decoder of images: diffusers' ``AutoencoderKL`` or our ``Autoencoder``.

    Args:
        vae: the autoencoder.
    """

    temporal = 1

    def __init__(self, vae: Any) -> None:
        self.vae = vae
        self.spatial = factor_of(vae)
        self.channels = int(vae.config.latent_channels)

    def start(self) -> Decode:
        """What decodes a new clip; frames do not know of each other."""
        return self._decode

    def _decode(self, latent: Tensor) -> Tensor:
        return run_decoder(self.vae, latent[:, :, 0])[:, None]


def make_decoder(vae: Any) -> Decoder:
    """The decoder that belongs to an autoencoder."""
    return WanDecoder(vae) if hasattr(vae.config, "dim_mult") else FrameDecoder(vae)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(
        1, -1, 1, 1, 1
    )
