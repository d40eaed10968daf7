"""Networks that are trained beside UltraVSR and score its clips.

Both are part of the task, so that its checkpoint has their state, and share its
optimiser. Each of their losses reaches the parameters that it is for and no others, so
one sum of losses trains all of them.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from upframe.systems.ultravsr.adapters import is_temporal
from upframe.systems.ultravsr.backbones import unet_stages
from upframe.systems.ultravsr.training.distillation import (
    Denoiser,
    distillation_losses,
    fake_loss,
)
from upframe.systems.ultravsr.training.temporal_gan import (
    TemporalPatchGAN,
    discriminator_loss,
    frozen_scores,
    generator_loss,
)


class JointDistillation(nn.Module):
    """The two temporal regularised UNets
    (`upframe.systems.ultravsr.training.distillation`).

    Both begin as the prior with fresh temporal modules. Of the real one the temporal
    modules learn, on the clean clips; the fake one learns as a whole, on the restored.

    Args:
        unet: the prior with temporal modules, without LoRA; is copied.
        content: weight of the distillation of each frame.
        temporal: weight of that of what changes between frames.
    """

    def __init__(self, unet: Any, content: float, temporal: float) -> None:
        super().__init__()
        self.real: Any = copy.deepcopy(unet)
        for name, parameter in self.real.named_parameters():
            parameter.requires_grad_(is_temporal(name))
        self.fake: Any = copy.deepcopy(unet).requires_grad_(True)
        self.content = content
        self.temporal = temporal

    def losses(
        self, made: Tensor, clean: Tensor, frames: int, alphas_cumprod: Tensor
    ) -> dict[str, Tensor]:
        """What is to be lowered, by name.

        Args:
            made: (N·T, C, h, w), restored latents, scaled.
            clean: of the originals.
            frames: T.
            alphas_cumprod: (1000,), ᾱ.
        """
        real, fake = (_denoiser(unet, frames) for unet in (self.real, self.fake))
        rng = torch.default_generator
        result = distillation_losses(made, frames, real, fake, alphas_cumprod, rng)
        return {
            "content": self.content * result.content,
            "temporal": self.temporal * result.temporal,
            "real": fake_loss(clean, frames, real, alphas_cumprod, rng),
            "fake": fake_loss(made, frames, fake, alphas_cumprod, rng),
        }


class ClipDiscriminator(nn.Module):
    """The temporal discriminator (`upframe.systems.ultravsr.training.temporal_gan`).

    Args:
        channels: of its first layer.
        weight: of the generator's loss.
    """

    def __init__(self, channels: int, weight: float) -> None:
        super().__init__()
        self.network = TemporalPatchGAN(channels)
        self.weight = weight

    def losses(self, made: Tensor, original: Tensor) -> dict[str, Tensor]:
        """What is to be lowered, by name; the discriminator's own among them.

        Args:
            made: (N, T, 3, H, W) around [0, 1].
            original: the same shape.
        """
        made, original = made * 2 - 1, original * 2 - 1
        generator = generator_loss(frozen_scores(self.network, made))
        discriminator = discriminator_loss(
            self.network(original), self.network(made.detach())
        )
        return {"temporal_gan": self.weight * generator, "discriminator": discriminator}


def _denoiser(unet: Any, frames: int) -> Denoiser:
    def denoise(z: Tensor, timesteps: Tensor) -> Tensor:
        return unet_stages(unet, timesteps)(z, frames)

    return denoise
