"""Crops over which perceptual distances are averaged.

The convolutions and the pooling of their networks have strides, so a pattern with the
same period can lie where they do not see it, or where they reward it. Crops that begin
at other pixels see it elsewhere.
"""

from __future__ import annotations

PHASES = 4
"""Crops at most: the stride of AlexNet's first convolution in pixels."""


def phase_crops(crop: int, phases: int) -> tuple[int, ...]:
    """Borders of the crops.

    Args:
        crop: border of the first crop, in pixels.
        phases: how many crops, 1 to 4.

    Returns:
        ``phases`` borders, spread evenly over 4 pixels: for 2 phases ``crop`` and
        ``crop + 2``.

    Raises:
        ValueError: the number of phases is another.
    """
    if not 1 <= phases <= PHASES:
        raise ValueError(f"phases must be 1 to {PHASES}, got {phases}")
    return tuple(crop + PHASES * k // phases for k in range(phases))
