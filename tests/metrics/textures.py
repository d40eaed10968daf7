"""Images whose motion can be found."""

from __future__ import annotations

import numpy as np

from upframe.degradations.bicubic import to_uint8
from upframe.nn.resize import imresize


def texture(height: int, width: int, seed: int = 5) -> np.ndarray:
    """A soft texture, (height, width, 3) uint8."""
    small = np.random.default_rng(seed).random((-(-height // 5), -(-width // 5), 3))
    return to_uint8(imresize(small, size=(height, width)))
