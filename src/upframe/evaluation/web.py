"""Clips as a person has them from the web: shrunk, then compressed once by H.264.

No training degradation of this package takes part, so no model has an advantage from
the pipeline that it was trained with. There are no random numbers: the frames depend on
the ground truth, the CRF and FFmpeg's version alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.frames import Clip, Frames
from upframe.datasets.images import ImageArray
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple
from upframe.media.codecs import Codec
from upframe.media.recode import recode

CODEC: Codec = "libx264"


class _Latest:
    """Compresses clips and keeps the last, so that memory holds one at a time."""

    def __init__(self) -> None:
        self._owner: CompressedFrames | None = None
        self._frames: NDArray[np.uint8] = np.empty(0, np.uint8)

    def of(self, owner: CompressedFrames) -> NDArray[np.uint8]:
        if self._owner is not owner:
            self._frames, self._owner = owner.compress(), owner
        return self._frames


class CompressedFrames:
    """The low-resolution side of a clip: bicubic, 8 bits, H.264 4:2:0.

    All frames are compressed together when the first is read.
    """

    def __init__(
        self, high: Frames, count: int, scale: int, crf: int, latest: _Latest
    ) -> None:
        self._high, self._count, self._scale = high, count, scale
        self._crf, self._latest = crf, latest

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> ImageArray:
        frame: ImageArray = self._latest.of(self)[number]
        return frame

    def compress(self) -> NDArray[np.uint8]:
        """(T, h, w, 3), by x264 with its defaults.

        Raises:
            InputError: a frame cannot be read.
            RuntimeFailure: FFmpeg has no x264, or it fails.
        """
        low = [
            bicubic_down(crop_to_multiple(self._high[number], self._scale), self._scale)
            for number in range(self._count)
        ]
        return recode(np.stack(low), CODEC, quality=self._crf)

    def name(self, number: int) -> str:
        """As the ground truth."""
        return self._high.name(number)

    def first(self, most: int) -> list[ImageArray]:
        """The first frames, at most so many."""
        return list(self._latest.of(self)[:most])

    def size(self) -> int:
        """Of the ground truth."""
        return self._high.size()

    def where(self, number: int) -> str:
        """Where its ground truth lies, and the CRF."""
        return f"{self._high.where(number)} at CRF {self._crf}"


def compressed(
    clips: Sequence[Clip], crfs: Sequence[int], scale: int, frames: int | None = None
) -> tuple[Clip, ...]:
    """Every clip once for each CRF.

    Args:
        clips: with ground truth; those that have a low-resolution side are kept as they
            are.
        crfs: constant rate factors of x264, 0 to 51, higher is worse; none to compress
            nothing.
        scale: of the model.
        frames: only the first frames of each clip are compressed; None for all.

    Returns:
        ``calendar`` becomes ``calendar-crf23`` and ``calendar-crf30``.
    """
    latest = _Latest()
    out = []
    for clip in clips:
        if not crfs or clip.high is None or clip.low is not None:
            out.append(clip)
            continue
        count = min(len(clip), frames or len(clip))
        for crf in crfs:
            low = CompressedFrames(clip.high, count, scale, crf, latest)
            out.append(Clip(f"{clip.name}-crf{crf}", clip.high, low))
    return tuple(out)
