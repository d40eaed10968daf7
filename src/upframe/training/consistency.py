"""The short-term temporal loss: what moves along with the original must not flicker.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, section 3.2. The
motion is that of the original, found by OpenCV's Farneback method as the metrics of
time find it; what is hidden in one of two frames, and edges of motion, do not count
(`upframe.metrics.temporal.visible`).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from upframe.metrics.flow import farneback, grey
from upframe.metrics.temporal import visible
from upframe.nn.warp import flow_warp


def warping_loss(clips: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference of each frame to the next one, moved back to it.

    Args:
        clips: (B, T, 3, H, W), T at least 2.
        original: the same shape, in [0, 1].

    Returns:
        Scalar, in the unit of ``clips``; 0 where nothing is visible in both frames.

    Raises:
        ValueError: there is one frame only.
    """
    if clips.shape[1] < 2:
        raise ValueError("a clip of one frame has no motion")
    motions = [_motion(clip) for clip in original]
    flow = torch.cat([flow for flow, _ in motions]).to(clips)
    seen = torch.cat([seen for _, seen in motions]).to(clips)
    before, after = clips[:, :-1].flatten(0, 1), clips[:, 1:].flatten(0, 1)
    apart = (before - flow_warp(after, flow)).abs().mean(dim=1)
    return (apart * seen).sum() / seen.sum().clamp(min=1)


def _motion(clip: Tensor) -> tuple[Tensor, Tensor]:
    """(T, 3, H, W) to the flow from each frame to the next, (T - 1, 2, H, W), and where
    it holds, (T - 1, H, W)."""
    images = (clip.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    frames = [grey(x) for x in images.permute(0, 2, 3, 1).cpu().numpy()]
    flows, masks = [], []
    for one, other in pairwise(frames):
        forward = farneback(one, other)
        flows.append(forward)
        masks.append(visible(forward, farneback(other, one)))
    flow = torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2)
    return flow, torch.from_numpy(np.stack(masks))
