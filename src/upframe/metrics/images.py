"""Images for the networks of perceptual metrics."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SMALLEST = 32
"""Least height and width after cropping, in pixels."""


def as_tensor(image: NDArray[np.uint8], name: str, crop: int, device: str) -> Tensor:
    """A image as (1, 3, h, w) float32 with values from 0 to 255.

    Args:
        image: (H, W, 3) RGB uint8.
        name: of the metric, for messages.
        crop: pixels left out on every side.
        device: where the tensor is put.

    Raises:
        ValueError: if this is no image, or less than 32x32 pixels remain.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {image.shape}")
    height, width = (n - 2 * crop for n in image.shape[:2])
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"{name} needs {SMALLEST}x{SMALLEST} pixels, {width}x{height} remain"
        )
    part = image[crop : crop + height, crop : crop + width]
    x = torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))
    return x.permute(2, 0, 1)[None].to(device)
