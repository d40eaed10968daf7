"""Temporal PatchGAN: a discriminator of patches in space and time.

The discriminator is that of the authors' repository of UltraVSR, which took it from
video inpainting (Chang et al., ICCV 2019; E2FGVI, CVPR 2022): six 3D convolutions of
3×5×5, of which each halves the image and none the time. Their training code is not
public, so the weight of this loss is not known. The losses are the usual three.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Kind = Literal["nsgan", "lsgan", "hinge"]


class TemporalPatchGAN(nn.Module):
    """Discriminator of clips.

    Args:
        channels: of the first layer; the authors use 64.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        widths = [channels * k for k in (1, 2, 4, 4, 4, 4)]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(
            zip([3, *widths[:-1]], widths, strict=True)
        ):
            first, last = number == 0, number == len(widths) - 1
            conv = nn.Conv3d(
                before,
                after,
                (3, 5, 5),
                stride=(1, 2, 2),
                padding=1 if first else (1, 2, 2),
                bias=last,
            )
            nn.init.normal_(conv.weight, std=0.02)
            if last:
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
                layers.append(conv)
            else:
                layers += [spectral_norm(conv), nn.LeakyReLU(0.2)]
        self.conv = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Score clips.

        Args:
            clips: (N, T, 3, H, W) in [-1, 1]; H and W at least 4.

        Returns:
            (N, T, C, h, w), unbounded, higher for real; 64 times smaller.
        """
        out: Tensor = self.conv(clips.transpose(1, 2))
        return out.transpose(1, 2)


def discriminator_loss(real: Tensor, fake: Tensor, kind: Kind = "hinge") -> Tensor:
    """What the discriminator is to lower, scalar.

    Args:
        real: its scores of real clips.
        fake: of restored ones, detached from the generator.
        kind: ``nsgan`` (cross entropy), ``lsgan`` (squares) or ``hinge``.
    """
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    if kind == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def generator_loss(fake: Tensor, kind: Kind = "hinge") -> Tensor:
    """What the generator is to lower, scalar; the discriminator's parameters frozen."""
    if kind == "hinge":
        return -fake.mean()
    if kind == "lsgan":
        return (fake - 1).square().mean()
    return F.softplus(-fake).mean()


def frozen_scores(discriminator: nn.Module, clips: Tensor) -> Tensor:
    """Scores of clips with gradients for the clips alone."""
    kept = [p.requires_grad for p in discriminator.parameters()]
    discriminator.requires_grad_(False)
    try:
        out: Tensor = discriminator(clips)
    finally:
        for parameter, needed in zip(discriminator.parameters(), kept, strict=True):
            parameter.requires_grad_(needed)
    return out
