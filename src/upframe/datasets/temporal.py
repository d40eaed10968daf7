"""Low- and high-resolution clips for training networks that look at several frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.clips import ClipCache
from upframe.datasets.drawing import render
from upframe.datasets.motion import MotionConfig, draw_motion
from upframe.datasets.pairs import PairCache
from upframe.degradations.ranges import BIConfig
from upframe.degradations.registry import AnyDegradation, degrade

_MARGIN = 2
"""Low-resolution pixels drawn around the patch and cut off again: the bicubic kernel
reaches that far, so that patches carry no borders that whole frames do not have."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TemporalData:
    """Clips from photographs in motion and from real videos."""

    photographs: PairCache
    """Only its high-resolution side is used."""
    videos: ClipCache | None = None
    video_share: float = 0.3
    """Part of the clips that comes from the videos, where there are some."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    degradation: AnyDegradation = field(default_factory=BIConfig)

    def high(
        self, rng: np.random.Generator, frames: int, size: tuple[int, int]
    ) -> Pixels:
        """One high-resolution clip, (frames, *size, 3), flipped and turned at random;
        ``size`` is square."""
        if self.videos is not None and rng.random() < self.video_share:
            clip = self.videos.sample(rng, frames, size)
        else:
            number = int(rng.integers(len(self.photographs.pairs)))
            photograph = self.photographs.image(number)[1]
            paths = draw_motion(
                self.motion,
                rng,
                frames,
                size,
                (photograph.shape[0], photograph.shape[1]),
            )
            clip = render(paths, photograph)
        clip = np.rot90(clip, int(rng.integers(4)), axes=(1, 2))
        return np.ascontiguousarray(clip[:, :, ::-1] if rng.integers(2) else clip)

    def sample(
        self, rng: np.random.Generator, batch: int, frames: int, patch: int
    ) -> tuple[Pixels, Pixels]:
        """Random clips with their degraded side.

        Args:
            rng: the only random state.
            batch: clips.
            frames: frames per clip.
            patch: side of the low-resolution patch, in pixels.

        Returns:
            Low (batch, frames, patch, patch, 3) and high (batch, frames, s * patch,
            s * patch, 3), uint8.
        """
        s = self.photographs.scale
        side = (patch + 2 * _MARGIN) * s
        inner = slice(_MARGIN, _MARGIN + patch)
        outer = slice(_MARGIN * s, (_MARGIN + patch) * s)
        low = np.empty((batch, frames, patch, patch, 3), np.uint8)
        high = np.empty((batch, frames, s * patch, s * patch, 3), np.uint8)
        for i in range(batch):
            clip = self.high(rng, frames, (side, side))
            low[i] = degrade(self.degradation, clip, s, rng)[:, inner, inner]
            high[i] = clip[:, outer, outer]
        return low, high
