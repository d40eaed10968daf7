"""A network of clips that trains in milliseconds: masks, chance, a flow network."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.training_step import StepResult


class Restored(NamedTuple):
    frames: Tensor
    keep_ratios: Tensor


class TinyClips(nn.Module):
    """Enlarges four times; looks at the frame before; drops values at random."""

    def __init__(self, dim: int = 8, layers: int = 1, drop: float = 0.1) -> None:
        super().__init__()
        self.drop = drop
        self.spynet = nn.Conv2d(6, 3, 3, padding=1)
        self.first = nn.Conv2d(6, dim, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Conv2d(dim, dim, 3, padding=1) for _ in range(layers)
        )
        self.last = nn.Conv2d(dim, 48, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        return self.restore(frames).frames

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        restored = self.restore(low)
        return StepResult(restored.frames, high, keep_ratios=restored.keep_ratios)

    def restore(self, frames: Tensor) -> Restored:
        before = torch.cat((frames[:, :1], frames[:, :-1]), 1)
        pair = torch.cat((frames, before), 2).flatten(0, 1)
        x = self.first(torch.cat((pair[:, :3], self.spynet(pair)), 1))
        for layer in self.layers:
            x = x + F.dropout(F.relu(layer(x)), self.drop, self.training)
        ratios = x.mean((1, 2, 3)).sigmoid()
        out = F.pixel_shuffle(self.last(x), 4).unflatten(0, frames.shape[:2])
        return Restored(out, ratios)
