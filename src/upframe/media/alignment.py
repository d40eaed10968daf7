"""Which frame of one video shows the same as which frame of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REACH = 48
"""Frames to both sides that are tried for the next match."""
_TURN = 0.04
"""Cost of not going to the next frame; the same shows at 0, unrelated at 1."""
_PER_FRAME = 0.01
"""Cost of each frame passed over or gone back."""
UNLIKE = 0.45
"""Distance from which two frames do not show the same."""


@dataclass(frozen=True)
class Alignment:
    """Matches of the second video's frames in the first."""

    source: NDArray[np.int64]
    """(M,) for each frame of the second video, its frame in the first."""
    distance: NDArray[np.float64]
    """(M,) how much the two differ: 0 not at all, about 1 unrelated."""
    count: int
    """Frames of the first video."""

    @property
    def lost(self) -> list[int]:
        """Frames of the first video that the second does not show."""
        return sorted(set(range(self.count)) - set(self.source.tolist()))

    @property
    def doubled(self) -> list[int]:
        """Frames of the second video that repeat the one before."""
        return (np.flatnonzero(np.diff(self.source) == 0) + 1).tolist()

    @property
    def reordered(self) -> list[int]:
        """Frames of the second video that go back to something shown before."""
        return (np.flatnonzero(np.diff(self.source) < 0) + 1).tolist()

    @property
    def unlike(self) -> list[int]:
        """Frames of the second video that the first does not show."""
        return np.flatnonzero(self.distance > UNLIKE).tolist()


def signatures(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails without their brightness and contrast, so that only shapes count.

    Args:
        thumbnails: (N, h, w, 3) RGB.

    Returns:
        (N, h * w) of mean 0 and, but for flat frames, standard deviation 1.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    luma = (thumbnails * weights).sum(-1, dtype=np.float32)
    flat = luma.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(flat.std(1, keepdims=True), 4), np.float32)


def align(one: NDArray[np.float32], other: NDArray[np.float32]) -> Alignment:
    """Find the cheapest path of matches through two videos.

    Going to the next frame costs nothing; repeating, passing over and going back cost
    a little, so that still scenes are matched in order.

    Args:
        one: (N, d) signatures of the first video, N >= 1.
        other: (M, d) signatures of the second video.
    """
    count, frames = len(one), len(other)
    if count == frames:
        straight = np.array([_distance(one[k], other[k]) for k in range(count)])
        if count == 0 or straight.max() < _TURN / 2:
            return Alignment(np.arange(count), straight, count)
    width = 2 * _REACH + 1
    offsets = np.arange(-_REACH, _REACH + 1)
    # From offset i in the last row to offset j in this one, both around their centres.
    step = offsets[None, :] - offsets[:, None]
    origin = np.zeros((frames, width), np.int16)
    centres = np.zeros(frames, np.int64)
    cost = np.zeros(width)
    centre = 0
    for number in range(frames):
        if number:
            best = centre + offsets[int(np.argmin(cost))]
            moved = int(np.clip(best + 1, 0, count - 1)) - centre
            change = step + moved - 1  # 0: the very next frame
            total = cost[:, None] + np.where(
                change == 0, 0, _TURN + _PER_FRAME * np.abs(change)
            )
            origin[number] = np.argmin(total, 0)
            cost = total[origin[number], np.arange(width)]
            centre += moved
        centres[number] = centre
        places = centre + offsets
        valid = (places >= 0) & (places < count)
        row = np.full(width, np.inf)
        row[valid] = _distance(one[places[valid]], other[number])
        if number == 0:
            row = row + _PER_FRAME * np.abs(offsets)
        cost = cost + row
    matches = np.zeros(frames, np.int64)
    at = int(np.argmin(cost))
    for number in range(frames - 1, -1, -1):
        matches[number] = centres[number] + offsets[at]
        at = int(origin[number, at])
    distance = np.array([_distance(one[k], other[i]) for i, k in enumerate(matches)])
    return Alignment(matches, distance, count)


def _distance(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Half the mean squared difference; for unit signatures 1 minus correlation."""
    return np.asarray(np.square(one - other).mean(-1) / 2, np.float64)
