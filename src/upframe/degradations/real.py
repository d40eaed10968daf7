"""The second-order real-world degradation of clips.

``draw`` turns ranges and a generator into fixed `Parameters`; ``apply`` carries them
out. Order, after RealBasicVSR (Chan et al., CVPR 2022)::

    blur, resize, noise, JPEG, video codec,
    blur, resize, noise, JPEG, {video codec | resize to the final size, sinc} shuffled

The result depends on the parameters and the clip alone. Across machines the codecs'
and transforms' last bit may differ.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from upframe.degradations.drawer import Drawer
from upframe.degradations.operations import Operation, quantise
from upframe.degradations.ranges import RealConfig, Strict

_LEAST_SHARE = 0.3
"""Of the final size, the smallest that a clip may become on the way: Real-ESRGAN's
bound. Both orders' factors together would go to 0.045 of the original, where nothing is
left to restore."""


class Parameters(Strict):
    """Everything that was drawn for one clip; ``model_dump_json`` keeps it."""

    frames: int
    height: int
    """Of the high-resolution clip."""
    width: int
    scale: int
    operations: tuple[Operation, ...]


def draw(
    config: RealConfig,
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    scale: int,
) -> Parameters:
    """Draw the parameters for one clip.

    Args:
        config: the ranges.
        rng: the only random state.
        frames: length of the clip, at least 1.
        size: (height, width) of the high-resolution clip.
        scale: integer factor; the result is ``ceil`` of the size over it.
    """
    final = (-(-size[0] // scale), -(-size[1] // scale))
    least = (ceil(final[0] * _LEAST_SHARE), ceil(final[1] * _LEAST_SHARE))
    drawer = Drawer(rng, frames, size, least, config.temporal == "walk")
    drawer.stage(config.first)
    drawer.video(config.first_video)
    drawer.stage(config.second)
    codec_first = drawer.occurs(0.5)
    if codec_first:
        drawer.video(config.final_video)
    drawer.resize_to((final,) * frames, drawer.choose(config.final_filters))
    drawer.blur(config.final_sinc)
    if not codec_first:
        drawer.video(config.final_video)
    return Parameters(
        frames=frames,
        height=size[0],
        width=size[1],
        scale=scale,
        operations=tuple(drawer.operations),
    )


def apply(
    parameters: Parameters, clip: NDArray[np.uint8] | NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Degrade a clip with fixed parameters.

    Args:
        parameters: from `draw`, or read back from JSON.
        clip: (T, H, W, 3), uint8 or float32 in [0, 1], of the size that the parameters
            were drawn for.

    Returns:
        (T, ceil(H / scale), ceil(W / scale), 3) uint8.

    Raises:
        ValueError: if the clip has another size.
        MissingExtraError: if Pillow is not installed (JPEG).
    """
    expected = (parameters.frames, parameters.height, parameters.width, 3)
    if clip.shape != expected:
        raise ValueError(f"drawn for a clip {expected}, got {clip.shape}")
    work = clip.astype(np.float32)
    if clip.dtype == np.uint8:
        work /= 255
    for operation in parameters.operations:
        work = operation.apply(work)
    return quantise(work)
