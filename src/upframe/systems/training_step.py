"""What a network in training computes from a batch, in one form for all of them.

Every network that recipes train has ``training_step(low, high)``. Networks that restore
return their frames and leave the comparison to the losses of the recipe; autoencoders
and diffusion models bring losses of their own. Random numbers come from torch's global
generator, which the trainer seeds anew for every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, cast

from torch import Tensor, nn


@dataclass(frozen=True)
class StepResult:
    """What the losses are computed from."""

    frames: Tensor | None
    """(B, 3, H, W) or (B, T, 3, H, W) around [0, 1], not clipped; None where losses are
    not about frames."""
    target: Tensor
    """What the frames should be, of their shape."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Scalars that are added to the recipe's losses, with their weights applied."""
    keep_ratios: Tensor | None = None
    """(calls,) shares of computed tokens with their gradient, where there are masks."""


class Trainable(Protocol):
    """A network that recipes can train."""

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Compute what the losses need.

        Args:
            low: (B, 3, h, w), or (B, T, 3, h, w) for video models, in [0, 1].
            high: the original, of the scale of the recipe.
        """
        ...


def training_step(network: nn.Module, low: Tensor, high: Tensor) -> StepResult:
    """``network.training_step(low, high)`` for a module that is known to have it."""
    return cast("Trainable", network).training_step(low, high)
