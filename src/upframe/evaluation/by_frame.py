"""Score by frame number: what a recurrent model makes of its hundredth frame.

Test clips are short, so they are run forwards and backwards until there are enough
frames. The motion stays that of the clip, and after 2 (n - 1) frames the same frame
comes again in the same direction: scores that far apart differ by what the model
carries, not by the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan, nan

from upframe.datasets.frames import Clip, Frames
from upframe.datasets.images import ImageArray
from upframe.evaluation.metrics import METRICS


class Bounced:
    """Frames of a clip forwards and backwards, as many as are wanted."""

    def __init__(self, frames: Frames, distinct: int, count: int) -> None:
        """Wrap a clip.

        Args:
            frames: of the clip.
            distinct: how many of them are used, at least 1.
            count: length of the result.
        """
        self._frames, self._distinct, self._count = frames, distinct, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> ImageArray:
        return self._frames[bounced(number, self._distinct)]

    def name(self, number: int) -> str:
        """Of the frame that is shown."""
        return self._frames.name(bounced(number, self._distinct))

    def first(self, most: int) -> list[ImageArray]:
        """The first frames, at most so many."""
        return [self[number] for number in range(min(most, self._count))]

    def size(self) -> int:
        """Of the clip."""
        return self._frames.size()

    def where(self, number: int) -> str:
        """Where the frame that is shown lies."""
        return self._frames.where(bounced(number, self._distinct))


def bounced(number: int, distinct: int) -> int:
    """Which frame of a clip of ``distinct`` frames stands at a place; both from 0."""
    period = max(1, 2 * (distinct - 1))
    place = number % period
    return place if place < distinct else period - place


def lengthened(
    clips: Sequence[Clip], count: int, frames: int | None = None
) -> tuple[Clip, ...]:
    """Clips of exactly ``count`` frames.

    Args:
        clips: any.
        count: frames of each result.
        frames: only the first frames of each clip are used; None for all.
    """

    def longer(side: Frames | None, distinct: int) -> Frames | None:
        return None if side is None else Bounced(side, distinct, count)

    out = []
    for clip in clips:
        distinct = min(len(clip), frames or len(clip))
        high, low = longer(clip.high, distinct), longer(clip.low, distinct)
        out.append(replace(clip, high=high, low=low))
    return tuple(out)


def describe(clips: Sequence[Clip], count: int, frames: int | None) -> str:
    """How the clips got their length, for the printed protocol."""
    distinct = [min(len(clip), frames or len(clip)) for clip in clips]
    if min(distinct) >= count:
        return f"by frame number, 1 to {count}"
    least, most = min(distinct), max(distinct)
    lengths = str(least) if least == most else f"{least} to {most}"
    return (
        f"by frame number, 1 to {count}: clips of {lengths} frames run forwards and "
        "backwards"
    )


def curve(
    names: Sequence[str], per_frame: Sequence[Mapping[str, Sequence[float]]], count: int
) -> dict[str, tuple[float, ...]]:
    """Mean over the clips at every frame number.

    Args:
        names: of the metrics; those that score whole clips have no curve.
        per_frame: of each clip, metric to its scores in order; metrics of two frames
            begin with the second.
        count: frames of each clip.

    Returns:
        Metric to ``count`` scores, NaN where no clip has a defined one.
    """
    return {
        name: tuple(
            _mean(
                [
                    _at(scores[name], number, METRICS[name].temporal)
                    for scores in per_frame
                ]
            )
            for number in range(count)
        )
        for name in names
        if not METRICS[name].whole_clip
    }


_MARKED = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 80, 100)


def marked(by_frame: Mapping[str, Sequence[float]]) -> tuple[int, ...]:
    """The frame numbers, from 1, that a short table of a curve shows; the last one is
    among them."""
    count = max((len(values) for values in by_frame.values()), default=0)
    return tuple(
        sorted({*(n for n in _MARKED if n < count), *([count] if count else [])})
    )


def _at(values: Sequence[float], number: int, temporal: bool) -> float:
    place = number - 1 if temporal else number
    return values[place] if 0 <= place < len(values) else nan


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not isnan(value)]
    return sum(defined) / len(defined) if defined else nan
