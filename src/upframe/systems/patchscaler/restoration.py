"""PatchScaler's global restoration module and its loss.

A small U-shaped network over the latent of the whole image, as in the paper's figure.
It gives a coarse restored latent and a confidence for each place. Its sizes are not
published; it is plain residual blocks without normalisation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.diffusion.autoencoder import ResidualBlock


class Coarse(NamedTuple):
    """What the module gives."""

    latent: Tensor
    """y_HR, (B, C, h, w)."""
    logit: Tensor
    """(B, 1, h, w); the confidence before its sigmoid."""

    @property
    def confidence(self) -> Tensor:
        """(B, 1, h, w) in [0, 1]."""
        return self.logit.sigmoid()


class GlobalRestoration(nn.Module):
    """Latent of the low-resolution image to the coarse one and a confidence map.

    Untrained it gives its input back, with a confidence of 0.5.

    Args:
        channels: of the latent.
        widths: channels per level, finest first; each but the first halves the size.
        blocks: residual blocks per level, on the way down and on the way up.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.channels = channels
        self.multiple = 2 ** (len(widths) - 1)

        def level(width: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

        steps = list(pairwise(widths))
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(level(width) for width in widths)
        self.downs = nn.ModuleList(
            nn.Conv2d(fine, rough, 3, stride=2, padding=1) for fine, rough in steps
        )
        self.ups = nn.ModuleList(
            nn.Conv2d(rough, fine, 3, padding=1) for fine, rough in steps
        )
        self.merges = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine, _ in steps)
        self.decoders = nn.ModuleList(level(fine) for fine, _ in steps)
        self.conv_out = nn.Conv2d(widths[0], channels + 1, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, z: Tensor) -> Coarse:
        """(B, C, h, w), any size, to the coarse latent and the confidence."""
        height, width = z.shape[-2:]
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        x = self.conv_in(F.pad(z, pad, mode="replicate"))
        skipped: list[Tensor] = []
        for number, encoder in enumerate(self.encoders):
            if number:
                skipped.append(x)
                x = self.downs[number - 1](x)
            x = encoder(x)
        for number in reversed(range(len(skipped))):
            x = self.ups[number](F.interpolate(x, scale_factor=2.0))
            x = self.merges[number](torch.cat((x, skipped[number]), dim=1))
            x = self.decoders[number](x)
        out = self.conv_out(F.silu(x))[..., :height, :width]
        return Coarse(z + out[:, : self.channels], out[:, self.channels :])


def restoration_loss(
    coarse: Coarse, target: Tensor, *, weight: float = 1.0, eta: float = 0.1
) -> Tensor:
    """``|y - x|_1 + λ (C |y - x|² - η log C)``, the mean over places.

    At a place with a squared error e² the best confidence is η / e², at most 1: trust
    falls where the coarse latent is wrong, and no label of difficulty is needed. Where
    the paper's notes are silent: norms are means over channels, λ is 1, η is 0.1 (for
    latents of unit variance, so that the error of a third of it is trusted fully).

    Args:
        coarse: what the module gave.
        target: (B, C, h, w), latent of the true image.
        weight: λ.
        eta: η, above 0.

    Returns:
        Scalar.
    """
    error = coarse.latent - target
    square = error.square().mean(1, keepdim=True)
    trust = coarse.confidence * square - eta * F.logsigmoid(coarse.logit)
    return error.abs().mean() + weight * trust.mean()
