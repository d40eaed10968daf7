"""What a network in training makes of a batch, in one form for all of them.

Networks that restore are called with the low-resolution side; the recipe's losses
compare what they give with the other side. Networks with a method ``learn(low, high)``
get both sides, floats in [0, 1], and answer with a `Response` themselves: that is how
autoencoders and diffusion models are trained (``training`` in the packages
of systems). They take
chance from torch's own generator, which is seeded anew for every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True)
class Response:
    """What there is to be judged."""

    frames: Tensor | None
    """(B, 3, H, W) or (B, T, 3, H, W) around [0, 1], not clipped; None where losses are
    not about pictures."""
    target: Tensor
    """What the frames should be, of their shape."""
    losses: dict[str, Tensor] = field(default_factory=dict)
    """Scalars that the network adds to the recipe's losses, with their weights."""
    keep_ratios: Tensor | None = None
    """(calls,) shares of computed tokens with their gradient, where there are masks."""


def respond(network: nn.Module, low: Tensor, high: Tensor) -> Response:
    """Call a network on a batch.

    Args:
        network: of a recipe.
        low: (B, 3, h, w), or (B, T, 3, h, w) for systems of clips.
        high: the original, of the scale of the recipe.
    """
    if (learn := getattr(network, "learn", None)) is not None:
        response: Response = learn(low, high)
        return response
    restore = getattr(network, "restore", None)
    if restore is None:
        return Response(network(low), high)
    restored = restore(low)
    ratios = getattr(restored, "keep_ratios", None)
    if ratios is not None and ratios.numel() == 0:
        ratios = None
    return Response(restored.frames, high, keep_ratios=ratios)
