"""Noise that depends on a seed and the number of a frame alone.

However a video is cut into chunks, and wherever each runs, frame 1000 gets the same
noise. It is sampled on the CPU in float32, so devices and types do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


def frame_noise(seed: int, indices: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Standard normal noise for some frames.

    Philox is a counter-based generator: seed and index are its key, so that the noise
    of neighbouring frames has nothing in common.

    Args:
        seed: 0 to 2**64 - 1.
        indices: absolute numbers of the frames, each 0 to 2**64 - 1.
        shape: of one frame.

    Returns:
        (frames, *shape), float32, on the CPU.
    """
    frames = [
        np.random.Generator(
            np.random.Philox(key=np.array([seed, index], np.uint64))
        ).standard_normal(tuple(shape), np.float32)
        for index in indices
    ]
    return torch.from_numpy(np.stack(frames))
