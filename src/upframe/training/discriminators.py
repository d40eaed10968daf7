"""Discriminators: networks that distinguish upscaled images from ground truth.

``UNet`` is Real-ESRGAN's (Wang et al., ICCVW 2021, arXiv 2107.10833), ``Patch`` that of
pix2pix (Isola et al., CVPR 2017, arXiv 1611.07004) with spectral normalisation in place
of batch normalisation, so that each image is scored alone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


def _normed(before: int, after: int, size: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(before, after, size, stride, padding=1, bias=False)
    module: nn.Module = spectral_norm(conv)
    return module


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class UNet(nn.Module):
    """Judges every pixel."""

    least, multiple = 8, 8
    """What sides of images are at least, and a multiple of."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.first = nn.Conv2d(3, c, 3, padding=1)
        self.down = nn.ModuleList(
            _normed(c * k, c * 2 * k, 4, stride=2) for k in (1, 2, 4)
        )
        self.up = nn.ModuleList(_normed(c * 2 * k, c * k, 3) for k in (4, 2, 1))
        self.body = nn.ModuleList(_normed(c, c, 3) for _ in range(2))
        self.last = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 1, h, w), positive for originals."""
        maps = [_rectified(self.first(x))]
        for layer in self.down:
            maps.append(_rectified(layer(maps[-1])))
        y = maps.pop()
        for layer in self.up:
            y = _rectified(layer(_doubled(y))) + maps.pop()
        for layer in self.body:
            y = _rectified(layer(y))
        out: Tensor = self.last(y)
        return out


class Patch(nn.Module):
    """Judges what lies around every 8th pixel, 70 pixels wide."""

    least, multiple = 24, 1
    """What sides of images are at least, and a multiple of."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.first = nn.Conv2d(3, c, 4, stride=2, padding=1)
        self.layers = nn.ModuleList(
            (
                _normed(c, c * 2, 4, stride=2),
                _normed(c * 2, c * 4, 4, stride=2),
                _normed(c * 4, c * 8, 4),
            )
        )
        self.last = nn.Conv2d(c * 8, 1, 4, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 1, h/8-2, w/8-2),
        positive for originals."""
        x = _rectified(self.first(x))
        for layer in self.layers:
            x = _rectified(layer(x))
        out: Tensor = self.last(x)
        return out


DISCRIMINATORS: dict[str, type[UNet] | type[Patch]] = {"unet": UNet, "patch": Patch}
