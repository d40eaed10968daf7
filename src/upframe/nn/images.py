"""What diffusion systems do with images before and after their networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import RuntimeFailure, UsageError
from upframe.nn import colour

colour_fixes: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "wavelet": colour.wavelet,
    "adain": colour.adain,
    "none": lambda image, _: image,
}
"""Colour corrections by name; both images (B, 3, H, W)."""


def upsample(frames: Tensor, scale: int) -> Tensor:
    """(B, 3, H, W) in [0, 1], bicubic as in Pillow, to ``scale`` times the size."""
    size = [side * scale for side in frames.shape[-2:]]
    return F.interpolate(frames, size, mode="bicubic", antialias=True).clamp(0, 1)


def require_clip(frames: Tensor) -> None:
    """Raise where a tensor is no clip.

    Raises:
        UsageError: it is not (B, T, 3, h, w), or nothing is in it.
    """
    if frames.ndim != 5 or frames.shape[2] != 3 or 0 in frames.shape:
        raise UsageError(
            f"A tensor of {tuple(frames.shape)} is no clip.", "Give (B, T, 3, h, w)."
        )


def require_finite(x: Tensor, what: str) -> None:
    """Raise where a network gave something that is no number.

    Raises:
        RuntimeFailure: there is a NaN or an infinity.
    """
    if x.is_meta:  # there are shapes alone
        return
    # either end is no number where any value is none
    if not bool(torch.stack(x.aminmax()).isfinite().all()):
        advice = "The input or the weights hold values that are no numbers."
        if x.dtype != torch.float32:
            advice = "Half precision overflowed: use dtype float32 or bfloat16."
        raise RuntimeFailure(f"{what} is not a number.", advice)
