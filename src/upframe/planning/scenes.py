"""Scene cuts, found while frames stream by.

A content detector in the spirit of PySceneDetect's ``ContentDetector`` (Brandon
Castellano, BSD 3-Clause; own code, same idea and thresholds): the mean change of hue,
saturation and value between neighbouring frames, in OpenCV's units (hue 0 to 180,
others 0 to 255), compared with 27, and scenes of at least 15 frames. It differs where
that spares a temporal network needless or missed cuts:

- hue is compared around the circle, and only where both pixels have a colour; noise
  of grey pixels has a hue too, but no meaning. Grey pixels are judged by value alone,
  so that black and white films have cuts as well;
- a cut must stand out from the last four changes by a factor of 1.3: a fast pan changes
  every frame a lot. On 23 clips of DAVIS this takes 64 false cuts in 602 frames down to
  2, and the missed ones in 462 joints between the clips from 1 up to 3;
- when the frame from before a cut comes back within the minimal scene length, the
  cut was a flash, and does not delay the next one;
- a cut inside the minimal scene length is dropped at once rather than merged later,
  because nothing here may look ahead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_WIDTH = 160
"""Largest width of the small frames on which frames are compared."""
_GREY = 16.0
"""Pixels whose channels differ by less, of 255, have no reliable hue."""
_RECENT = 4
"""Changes from which a cut must stand out ..."""
_SPIKE = 1.3
"""... by this factor over their mean."""


class _Small(NamedTuple):
    """A frame as the detector remembers it; all arrays (h, w) float32."""

    hue: NDArray[np.float32]
    saturation: NDArray[np.float32]
    value: NDArray[np.float32]
    coloured: NDArray[np.float32]
    """1 where the hue means something, else 0."""


@dataclass(frozen=True)
class DetectorMemory:
    """What a detector's decisions depend on, beside the frame before."""

    frame: int
    """Frames seen."""
    scene_start: int
    recent: tuple[float, ...]
    """The last changes."""


class ContentDetector:
    """Reports for each frame whether it starts a new scene; needs no later frame.

    Args:
        threshold: mean change per channel, of 255, that makes a cut.
        min_length: frames that a scene has at least.
    """

    def __init__(self, threshold: float = 27.0, min_length: int = 15) -> None:
        self._threshold = threshold
        self._min_length = min_length
        self._frame = 0
        self._scene_start = 0
        self._previous: _Small | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)
        # the scene before the last cut: its start and its last frame
        self._before: tuple[int, _Small] | None = None

    def push(self, frame: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
        """Take the next frame.

        Args:
            frame: (H, W, 3) RGB, uint8 or uint16 over its full range.

        Returns:
            Whether this frame starts a new scene; False for the first.
        """
        small = _small(frame)
        index, previous = self._frame, self._previous
        self._frame, self._previous = index + 1, small
        if previous is None:
            return False
        if previous.value.shape != small.value.shape:
            # another frame size is another scene, whatever the scene length
            self._begin_scene(index, before=None)
            return True
        score = change(previous, small)
        if score >= max(self._threshold, _SPIKE * self._usual()):
            if index - self._scene_start >= self._min_length:
                self._begin_scene(index, before=(self._scene_start, previous))
                return True
            if self._before is not None:
                start, last = self._before
                if change(last, small) < self._threshold:
                    self._begin_scene(start, before=None)
                    return False
        self._recent.append(score)
        return False

    def memory(self) -> DetectorMemory | None:
        """What `restore` needs; None shortly after a cut, where a decision also depends
        on the frame before that cut."""
        since_cut = self._frame - self._scene_start
        if self._before is not None and since_cut < self._min_length:
            return None
        return DetectorMemory(self._frame, self._scene_start, tuple(self._recent))

    def restore(
        self, memory: DetectorMemory, frame: NDArray[np.uint8] | NDArray[np.uint16]
    ) -> None:
        """Go on from a memory.

        Args:
            memory: of a detector with the same arguments.
            frame: the last frame it had seen, as for `push`.
        """
        self._frame, self._scene_start = memory.frame, memory.scene_start
        self._recent.clear()
        self._recent.extend(memory.recent)
        self._previous, self._before = _small(frame), None

    def _usual(self) -> float:
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    def _begin_scene(self, start: int, before: tuple[int, _Small] | None) -> None:
        self._scene_start, self._before = start, before
        self._recent.clear()


def change(first: _Small, second: _Small) -> float:
    """Mean over the pixels of the mean change of their meaningful channels."""
    hue = np.abs(first.hue - second.hue)
    np.minimum(hue, 180 - hue, out=hue)
    both = first.coloured * second.coloured
    either = np.maximum(first.coloured, second.coloured)
    total = np.abs(first.value - second.value)
    total += np.abs(first.saturation - second.saturation) * either
    total += hue * both
    total /= 1 + either + both
    return float(total.mean())


def _small(frame: NDArray[Any]) -> _Small:
    """Shrink a frame by a whole step and convert it to HSV in OpenCV's units."""
    step = -(-frame.shape[1] // _WIDTH)
    if step > 1 and min(frame.shape[:2]) >= step:
        # four samples per block tame noise and fine texture nearly as well as all
        near, far = step // 4, step // 4 + step // 2
        height = frame.shape[0] // step * step
        width = frame.shape[1] // step * step
        block = frame[:height, :width]
        rgb = block[near::step, near::step].astype(np.float32)
        for row, column in ((near, far), (far, near), (far, far)):
            rgb += block[row::step, column::step]
        rgb *= 0.25
    else:
        rgb = frame.astype(np.float32)
    if frame.dtype == np.uint16:
        rgb *= np.float32(1 / 257)
    red, green, blue = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    inverse = 30 / np.maximum(chroma, 1)
    hue = np.where(
        value == red,
        (green - blue) * inverse,
        np.where(
            value == green,
            60 + (blue - red) * inverse,
            120 + (red - green) * inverse,
        ),
    )
    hue[hue < 0] += 180
    saturation = 255 * chroma / np.maximum(value, 1)
    return _Small(hue, saturation, value, (chroma >= _GREY).astype(np.float32))
