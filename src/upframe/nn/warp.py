"""Moving a map along an optical flow, by the pixel or in rigid patches.

A flow is (B, 2, h, w) in pixels: channel 0 is horizontal, channel 1 vertical, and
position ``p`` of the result is taken from ``p + flow[p]``. Half-precision maps are
sampled in float32, because half precision cannot tell the pixels of a wide row apart.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def flow_warp(
    x: Tensor,
    flow: Tensor,
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    padding: Literal["zeros", "border"] = "zeros",
) -> Tensor:
    """Sample a map where the flow points to.

    Args:
        x: (B, C, h, w).
        flow: (B, 2, h, w) in pixels.
        mode: interpolation; ``nearest`` passes no gradient to the flow.
        padding: what lies outside: zeros, or the nearest pixel of the border.

    Returns:
        (B, C, h, w), type of ``x``.
    """
    h, w = flow.shape[-2:]
    dtype = torch.promote_types(x.dtype, torch.float32)
    flow = flow.to(dtype)
    across = torch.arange(w, device=x.device, dtype=dtype)
    down = torch.arange(h, device=x.device, dtype=dtype)[:, None]
    grid = torch.stack(
        (
            2.0 * (flow[:, 0] + across) / max(w - 1, 1) - 1.0,
            2.0 * (flow[:, 1] + down) / max(h - 1, 1) - 1.0,
        ),
        dim=-1,
    )
    out = F.grid_sample(
        x.to(dtype), grid, mode=mode, padding_mode=padding, align_corners=True
    )
    return out.to(x.dtype)


def patch_flow(flow: Tensor, patch: int) -> Tensor:
    """One mean vector for each patch, so that a patch moves as a rigid piece.

    Args:
        flow: (B, 2, h, w) in pixels; h and w are larger than ``patch - 1``.
        patch: side of a patch; patches begin at the top left, and those that hang over
            the right or bottom edge are filled by reflection.

    Returns:
        (B, 2, h, w), constant inside each patch.
    """
    h, w = flow.shape[-2:]
    flow = F.pad(flow, (0, -w % patch, 0, -h % patch), mode="reflect")
    flow = F.interpolate(F.avg_pool2d(flow, patch), scale_factor=float(patch))
    return flow[..., :h, :w]


def patch_warp(x: Tensor, flow: Tensor, patch: int = 8) -> Tensor:
    """Move whole patches to the nearest pixel; nothing is interpolated.

    Patch alignment of Shi et al., "Rethinking Alignment in Video Super-Resolution
    Transformers" (NeurIPS 2022). No gradient reaches the flow.

    Args:
        x: (B, C, h, w).
        flow: (B, 2, h, w) in pixels.
        patch: side of a patch.

    Returns:
        (B, C, h, w); zeros where a patch reaches outside.
    """
    return flow_warp(x, patch_flow(flow, patch), mode="nearest")


def follow(first: Tensor, second: Tensor) -> Tensor:
    """The flow that walks along one flow and then along another.

    Args:
        first: (B, 2, h, w), from frame a to frame b.
        second: (B, 2, h, w), from frame b to frame c.

    Returns:
        (B, 2, h, w), from frame a to frame c.
    """
    return first + flow_warp(second, first)
