"""A tiny PatchScaler: 4 pixels per latent, patches of 8 latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.patchscaler.model import PatchScaler, PatchScalerConfig, Sizes
from upframe.systems.patchscaler.sampling import Group, Grouping

GROUPING = Grouping((Group(100, 1), Group(400, 2), Group(700, 4)))
SIZES = Sizes(
    restoration=(8, 12), blocks=1, layers=2, heads=2, head_width=8, classifier=(6, 8)
)


def system(*, trained: bool = True, seed: int = 0, scale: int = 4) -> PatchScaler:
    """``trained`` fills the layers that begin at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = Autoencoder(AutoencoderConfig((4, 4, 4), 4, 1))
        config = PatchScalerConfig(SIZES, GROUPING, scale, 8, 2, 2)
        made = PatchScaler(vae, config)
        if trained:
            nn.init.normal_(made.dit.proj_out.weight, std=0.5)
            nn.init.normal_(made.restoration.conv_out.weight, std=0.5)
    return made.eval()


def frame(height: int = 14, width: int = 18, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, height, width, generator=generator)


def patches(count: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, 8, 8, generator=generator)
