"""The convolutions of MIA-VSR lite as its steps compute them, in float or in int8.

A :class:`Convolution` maps codes to codes. A :class:`Coding` defines what codes mean:
in float they are the values themselves; in int8 they are bytes, whole steps of a range.
A step keeps tables of codes, so in int8 what it gathers, scatters and moves along is a
quarter as large, and what was quantised once is not quantised again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite.groups import Group, ResidualConv
from upframe.systems.mia_vsr_lite.network import LiteNetwork


class Coding(nn.Module):
    """What codes mean; here they are the values."""

    zero = 0
    """The code of 0."""
    dtype: torch.dtype | None = None
    """Of codes; None for that of the network."""

    def encode(self, x: Tensor) -> Tensor:
        """Values to codes, of any shape."""
        return x

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to values, of any shape."""
        return codes


class Convolution(nn.Module):
    """A convolution without a gradient.

    Args:
        weight: (outer, inner, side, side), copied.
        bias: (outer,), copied; None for zeros.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.outer, self.inner, self.side = weight.shape[:3]
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.before = Coding()
        """Of the input."""
        self.after = Coding()
        """Of the result."""

    def forward(self, codes: Tensor, padding: int) -> Tensor:
        """(K, inner, h, w) to (K, outer, h', w'), both in codes."""
        made: Tensor = F.conv2d(codes, self.weight, self.bias, padding=padding)
        return made


class Convolutions(nn.Module):
    """All of a network but for the base, in float.

    Args:
        network: its weights are copied; sums of them are computed once.
    """

    def __init__(self, network: LiteNetwork) -> None:
        super().__init__()
        dim, fuse = network.dim, network.conv_fuse
        self.first = _copied(network.conv_first)
        # what it adds to, the features themselves, is part of it
        itself = F.pad(torch.eye(dim)[:, :, None, None], (1, 1, 1, 1)).to(fuse.weight)
        self.fuse = Convolution(fuse.weight[:, :dim] + itself, fuse.bias)
        self.fuse_hidden = Convolution(fuse.weight[:, dim:], None)
        self.last = before_shuffle(network.conv_last)
        self.groups = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleList((_copied(pair.conv1), _copied(pair.conv2)))
                for pair in cast("list[ResidualConv]", list(group.convs))
            )
            for group in cast("list[Group]", list(network.groups))
        )

    def pairs(self, group: int) -> Iterator[tuple[Convolution, Convolution]]:
        """Both convolutions of each residual of a group."""
        for pair in cast("nn.ModuleList", self.groups[group]):
            first, second = cast("nn.ModuleList", pair)
            yield cast("Convolution", first), cast("Convolution", second)


def before_shuffle(conv: nn.Conv2d) -> Convolution:
    """A convolution before a pixel shuffle, its channels by row, column and colour."""
    assert conv.bias is not None
    weight, bias = (
        x.detach().reshape(3, -1, *x.shape[1:]).transpose(0, 1).flatten(0, 1)
        for x in (conv.weight, conv.bias)
    )
    return Convolution(weight, bias)


def _copied(conv: nn.Conv2d) -> Convolution:
    return Convolution(conv.weight, conv.bias)
