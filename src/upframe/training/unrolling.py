"""Recurrent networks over long clips, with gradients through the last frames only.

What a recurrent network adds to a frame it sees again, by its state, in the next. A
network that is trained on a few frames learns nothing about what that comes to after
fifty. Here frames run through it first that cost no gradient and no memory, so that the
frames it learns from have a state as long-lived as in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from upframe.errors import UsageError


def unrolled(network: nn.Module, frames: Tensor, places: Sequence[int]) -> Tensor:
    """Some frames of a clip, with gradients from the first of them on.

    Args:
        network: recurrent, with ``step(before, now, after, state)`` that returns a
            frame, the next state and masks, as ``MIAVSRLite`` does.
        frames: (B, T, 3, h, w) in [0, 1]; h and w fit its ``step``.
        places: K rising numbers of frames.

    Returns:
        (B, K, 3, s * h, s * w), not clipped.

    Raises:
        UsageError: if the network has no such step.
    """
    step: Any = getattr(network, "step", None)
    if step is None:
        raise UsageError(
            f"{type(network).__name__} is not recurrent and cannot warm up.",
            "Leave data.teacher out of the recipe, or train mia-vsr-lite.",
        )
    last = frames.shape[1] - 1
    state: Any = None
    results = []
    for i in range(places[-1] + 1):
        with torch.set_grad_enabled(i >= places[0]):
            before, after = frames[:, max(0, i - 1)], frames[:, min(last, i + 1)]
            result, state, _ = step(before, frames[:, i], after, state)
        if i in places:
            results.append(result)
    return torch.stack(results, dim=1)
