"""SpyNet: optical flow by a pyramid of small convolutional networks.

Paper: Ranjan and Black, "Optical Flow Estimation using a Spatial Pyramid Network",
CVPR 2017, arXiv 1611.00850. Six levels, sizes and parameter names as in BasicSR
(Apache-2.0), so that the weights that BasicVSR and its successors carry load.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.nn.warp import flow_warp

_LEVELS = 6
_MULTIPLE = 32
"""Sides are stretched to a multiple of this, which halves five times."""


class _Level(nn.Module):
    """Corrects the flow of one level of the pyramid."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (8, 32, 64, 32, 16, 2)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, reference: Tensor, moved: Tensor, flow: Tensor) -> Tensor:
        """Two (B, 3, h, w) images and a (B, 2, h, w) flow to a (B, 2, h, w) step."""
        out: Tensor = self.basic_module(torch.cat((reference, moved, flow), dim=1))
        return out


class SpyNet(nn.Module):
    """Flow between two images."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level() for _ in range(_LEVELS))
        # of ImageNet, which the network was trained with
        for name, values in (
            ("mean", (0.485, 0.456, 0.406)),
            ("std", (0.229, 0.224, 0.225)),
        ):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        """Where the pixels of one image are found in another.

        Args:
            reference: (B, 3, h, w), RGB in [0, 1]; h and w of 33 and more, so that the
                coarsest level has two pixels.
            other: the same shape.

        Returns:
            (B, 2, h, w) in pixels: ``other`` warped by it looks like ``reference``.
        """
        h, w = reference.shape[-2:]
        size = (h + -h % _MULTIPLE, w + -w % _MULTIPLE)
        flow = self._pyramid(self._prepare(reference, size), self._prepare(other, size))
        flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
        return flow * flow.new_tensor((w / size[1], h / size[0]))[:, None, None]

    def _prepare(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return (x - self.mean) / self.std

    def _pyramid(self, reference: Tensor, other: Tensor) -> Tensor:
        references, others = [reference], [other]
        for _ in range(_LEVELS - 1):
            references.append(F.avg_pool2d(references[-1], 2))
            others.append(F.avg_pool2d(others[-1], 2))
        flow = torch.zeros_like(references[-1][:, :2])
        for level, module in enumerate(self.basic_module):
            if level:
                flow = 2.0 * F.interpolate(
                    flow, scale_factor=2.0, mode="bilinear", align_corners=True
                )
            reference, other = references.pop(), others.pop()
            moved = flow_warp(other, flow, padding="border")
            flow = flow + module(reference, moved, flow)
        return flow
