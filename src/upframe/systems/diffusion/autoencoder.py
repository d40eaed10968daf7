"""A small variational autoencoder for the nano diffusion systems.

An own network; it follows the lines of latent diffusion's KL autoencoder (Rombach et
al., CVPR 2022) and of the tiny ones that are distilled from it (TAESD), from which it
takes plain residual blocks without normalisation. Without normalisation over the
image, a tile gives what the whole image gives, and there is nothing to overflow in
half precision that the input does not bring with it.

It has the attributes of diffusers' ``AutoencoderKL`` that UltraVSR uses (``encode``,
``post_quant_conv``, ``decoder``, ``config``), so either can be put in the other's
place. Torch alone is needed.

::

    encoder:  unshuffle ─ conv ─ [blocks ─ conv /2] × n ─ blocks ─ conv → mean, logvar
    decoder:  conv ─ blocks ─ blocks ─ [nearest ×2, conv ─ blocks] × n ─ conv ─ shuffle

On a CPU the finest levels of such a network take nearly all of its time. So it begins
where ``patch`` pixels have been put into channels: at 4, a ninth of the work. Weights
are kept with channels last, which convolutions on a CPU like and hand on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.nn.layout import channels_last


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an `Autoencoder`."""

    block_out_channels: tuple[int, ...] = (48, 80)
    """Channels per level, finest first; each level but the first halves the size."""
    latent_channels: int = 16
    layers_per_block: int = 2
    """Residual blocks per level."""
    scaling_factor: float = 1.0
    """What latents are multiplied by for the diffusion model, to have unit variance;
    measured after training."""
    patch: int = 1
    """Side of the squares of pixels that become channels of the finest level."""

    @property
    def factor(self) -> int:
        """Image size over latent size."""
        return self.patch * int(2 ** (len(self.block_out_channels) - 1))


NANO = AutoencoderConfig((48, 80), latent_channels=16, patch=4)
"""The one that the nano systems share: 1.0 million parameters, shrinks 8 times."""


def factor_of(vae: Any) -> int:
    """Image size over latent size of our `Autoencoder` or diffusers' ones of
    images."""
    own: int | None = getattr(vae.config, "factor", None)
    return own or int(2 ** (len(vae.config.block_out_channels) - 1))


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over latents."""

    mean: Tensor
    """(B, latent_channels, H / factor, W / factor)."""
    logvar: Tensor
    """The same shape; within [-30, 20]."""

    @property
    def std(self) -> Tensor:
        """Standard deviation."""
        return torch.exp(0.5 * self.logvar)

    def kl(self) -> Tensor:
        """Divergence from the standard normal in nats per latent value, scalar."""
        square = self.mean**2 + self.logvar.exp()
        return 0.5 * (square - 1.0 - self.logvar).mean()


@dataclass(frozen=True)
class Encoded:
    """What ``encode`` returns; named as in diffusers."""

    latent_dist: Posterior


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))); starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        assert self.conv2.bias is not None
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        inner: Tensor = self.conv1(F.silu(x))
        # what nobody else looks at may be changed in place, which is faster
        ours = not torch.is_grad_enabled()
        out: Tensor = self.conv2(F.silu(inner, inplace=ours))
        return out.add_(x) if ours else out + x


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(count)]


class Encoder(nn.Module):
    """Images to the moments of their latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.block_out_channels
        self.patch = config.patch
        self.conv_in = nn.Conv2d(3 * config.patch**2, widths[0], 3, padding=1)
        levels: list[nn.Module] = []
        for width, narrower in zip(widths, (widths[0], *widths[:-1]), strict=True):
            level: list[nn.Module] = []
            if len(levels):
                level.append(nn.Conv2d(narrower, width, 3, stride=2, padding=1))
            levels.append(
                nn.Sequential(*level, *_blocks(width, config.layers_per_block))
            )
        self.down_blocks = nn.ModuleList(levels)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 2 · latent channels, H / factor, W / factor)."""
        x = self.conv_in(F.pixel_unshuffle(x, self.patch))
        for block in self.down_blocks:
            x = block(x)
        out: Tensor = self.conv_out(F.silu(x))
        return out


class UpBlock(nn.Sequential):
    """The way from the next coarser level, if there is one, and residual blocks."""

    def __init__(self, coarser: int | None, width: int, layers: int) -> None:
        way: list[nn.Module] = []
        if coarser is not None:
            # the first has no weights, and keeps the numbers of the others
            way += [nn.Identity(), UpConv(coarser, width)]
        super().__init__(*way, *_blocks(width, layers))


class UpConv(nn.Conv2d):
    """A 3×3 convolution of what was upsampled to twice the size, pixels repeated.

    Of the nine pixels under its kernel, four differ. So this is, for each of the four
    pixels that come of one, a convolution of 2×2 of the small map: 4/9 of the work.

    Args:
        inner: channels that come.
        outer: channels that go.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, h, w) to (B, outer, 2h, 2w)."""
        height, width = x.shape[-2:]
        kernels = [
            kernel for rows in _pairs(self.weight, 2) for kernel in _pairs(rows, 3)
        ]
        assert self.bias is not None
        made = F.conv2d(x, torch.cat(kernels), self.bias.repeat(4), padding=1)
        out = torch.empty(
            (len(x), self.out_channels, 2 * height, 2 * width),
            dtype=made.dtype,
            device=made.device,
            memory_format=torch.channels_last,
        )
        for number, part in enumerate(made.chunk(4, dim=1)):
            a, b = divmod(number, 2)
            out[..., a::2, b::2] = part[..., a : a + height, b : b + width]
        return out


def _pairs(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Three taps as the two that are left of them, for the first and the second of the
    pixels that one becomes."""
    before, here, after = kernel.unbind(dim)
    return (
        torch.stack((before, here + after), dim),
        torch.stack((before + here, after), dim),
    )


class ToPixels(nn.Module):
    """``torch.nn.PixelShuffle`` from channels last to planes of pixels, in one copy.

    Args:
        side: of the squares.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, C · side², h, w) to (B, C, side · h, side · w)."""
        (count, _, height, width), side = x.shape, self.side
        x = x.permute(0, 2, 3, 1).reshape(count, height, width, -1, side, side)
        x = x.permute(0, 3, 1, 4, 2, 5)
        return x.reshape(count, -1, side * height, side * width)


class Decoder(nn.Module):
    """Latents to images; attributes as in diffusers' decoder."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.block_out_channels[::-1]
        coarser = (None, *widths[:-1])
        layers = config.layers_per_block
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = nn.Sequential(*_blocks(widths[0], layers))
        self.up_blocks = nn.ModuleList(
            UpBlock(of, width, layers)
            for of, width in zip(coarser, widths, strict=True)
        )
        self.conv_norm_out = nn.Identity()
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Sequential(
            nn.Conv2d(widths[-1], 3 * config.patch**2, 3, padding=1),
            ToPixels(config.patch),
        )

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent channels, h, w) to (B, 3, factor · h, factor · w)."""
        z = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            z = block(z)
        out: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(z)))
        return out


class Autoencoder(nn.Module):
    """The whole network.

    Args:
        config: its sizes; None for `NANO`.
    """

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or NANO
        self.encoder = Encoder(self.config)
        self.post_quant_conv: nn.Module | None = None  # as AutoencoderKL without one
        self.decoder = Decoder(self.config)
        channels_last(self)

    def encode(self, x: Tensor) -> Encoded:
        """Where the latents of images lie.

        Args:
            x: (B, 3, H, W) in [-1, 1]; H and W are multiples of ``config.factor``.

        Returns:
            The posterior, not scaled by ``config.scaling_factor``.

        Raises:
            ValueError: a side is no multiple of the factor.
        """
        if any(side % self.config.factor for side in x.shape[-2:]):
            raise ValueError(
                f"sides of {tuple(x.shape[-2:])} are no multiples of "
                f"{self.config.factor}"
            )
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        return Encoded(Posterior(mean, logvar.clamp(-30.0, 20.0)))

    def decode(self, z: Tensor) -> Tensor:
        """Images from latents.

        Args:
            z: (B, latent channels, h, w), not scaled.

        Returns:
            (B, 3, factor · h, factor · w) around [-1, 1], not clipped.
        """
        out: Tensor = self.decoder(z)
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Posterior]:
        """An image through a sampled latent and back, as training needs it."""
        posterior = self.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn_like(posterior.mean)
        return self.decode(z), posterior
