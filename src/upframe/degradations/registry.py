"""Degradations by name, as recipes choose them: ``bi``, ``bd``, ``real``, ``web``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from upframe.degradations import real, web
from upframe.degradations.bicubic import bicubic_down
from upframe.degradations.gaussian import gaussian_down
from upframe.degradations.ranges import BDConfig, BIConfig, RealConfig
from upframe.degradations.web import WebConfig

AnyDegradation = BIConfig | BDConfig | RealConfig | WebConfig
RandomConfig = RealConfig | WebConfig
"""Those that are drawn anew for every patch or clip."""
DegradationConfig = Annotated[AnyDegradation, Field(discriminator="name")]
"""What ``data.degradation`` of a recipe holds."""

Pixels = NDArray[np.uint8]


def _bi(config: Any, clip: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    del config, rng
    return bicubic_down(clip, scale)


def _bd(config: Any, clip: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    del config, rng
    return np.stack([gaussian_down(frame, scale) for frame in clip])


def _real(config: Any, clip: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    size = (clip.shape[1], clip.shape[2])
    return real.apply(real.draw(config, rng, len(clip), size, scale), clip)


def _web(config: Any, clip: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    size = (clip.shape[1], clip.shape[2])
    return real.apply(web.draw(config, rng, len(clip), size, scale), clip)


_BY_NAME: dict[str, Callable[[Any, Pixels, int, np.random.Generator], Pixels]] = {
    "bi": _bi,
    "bd": _bd,
    "real": _real,
    "web": _web,
}


def names() -> list[str]:
    """Names that recipes may use."""
    return sorted(
        str(config.model_fields["name"].default)
        for config in get_args(get_args(DegradationConfig)[0])
    )


def degrade(
    config: AnyDegradation,
    clip: Pixels,
    scale: int,
    rng: np.random.Generator,
) -> Pixels:
    """Make the low-resolution clip.

    Args:
        config: which degradation, with its settings.
        clip: (T, H, W, 3) uint8; for ``bi`` and ``bd`` H and W are multiples of scale.
        scale: integer factor.
        rng: the only random state; not used by ``bi`` and ``bd``.

    Returns:
        (T, H / scale, W / scale, 3) uint8, sizes rounded up.
    """
    return _BY_NAME[config.name](config, clip, scale, rng)
