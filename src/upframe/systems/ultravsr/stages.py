"""Networks cut at their temporal modules, for whole clips and for streams of frames.

An image network with `RecurrentTemporalShift` modules in it is a row of segments, each
of which treats every frame for itself, with a module between any two of them. Run on a
whole clip, memory grows with its length. Run as a stream, every segment works on
another moment of the clip: a module holds back two frames until it knows what comes
after them, and what later segments need of those frames (skip connections, text) waits
with them. Memory then depends on the size of a chunk alone, and the numbers are those
of the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from upframe.systems.ultravsr.rts import (
    RecurrentTemporalShift,
    ShiftStream,
    joined,
    single_frames,
)

Carried = tuple[Tensor, ...]
"""What later segments need of each frame; every tensor has frames first."""
Segment = Callable[[Tensor, Carried], tuple[Tensor, Carried]]
"""Takes the map (B, C, H, W) and what is carried; gives the next of both."""


@dataclass(frozen=True)
class Stages:
    """A network as ``segments[0], shifts[0], segments[1], ..., segments[-1]``."""

    segments: tuple[Segment, ...]
    shifts: tuple[RecurrentTemporalShift, ...]

    def __post_init__(self) -> None:
        if len(self.segments) != len(self.shifts) + 1:
            raise ValueError("there is one module between any two segments")

    @property
    def delay(self) -> int:
        """Frames by which a stream's answers lag behind."""
        return sum(shift.reach for shift in self.shifts)

    def __call__(self, x: Tensor, frames: int, carried: Carried = ()) -> Tensor:
        """Run whole clips.

        Args:
            x: (N·T, C, H, W), frames of a clip next to each other.
            frames: T.
            carried: what the first segment is given besides.

        Returns:
            What the last segment makes of it, (N·T, ...).
        """
        for segment, shift in zip(self.segments[:-1], self.shifts, strict=True):
            x, carried = segment(x, carried)
            x = shift(x, frames)
        return self.segments[-1](x, carried)[0]

    def stream(self) -> StageStream:
        """A stream for the frames of one clip."""
        return StageStream(self)


class StageStream:
    """Stages on frames of one clip that come in order.

    Args:
        stages: the network.
    """

    def __init__(self, stages: Stages) -> None:
        self._segments = stages.segments
        self._steps = [_Step(shift) for shift in stages.shifts]

    def push(self, x: Tensor, carried: Carried = ()) -> Tensor | None:
        """Give the next frames (n, C, H, W), n >= 1; returns finished ones, if any."""
        return self._run(0, x, carried)

    def flush(self) -> Tensor | None:
        """End of the clip; returns the frames that are owed, None if none came."""
        finished = []
        for number, step in enumerate(self._steps):
            late = step.flush()
            if late is not None:
                out = self._run(number + 1, *late)
                if out is not None:
                    finished.append(out)
        return torch.cat(finished) if finished else None

    def _run(self, first: int, x: Tensor, carried: Carried) -> Tensor | None:
        for number in range(first, len(self._steps)):
            x, carried = self._segments[number](x, carried)
            passed = self._steps[number].push(x, carried)
            if passed is None:
                return None
            x, carried = passed
        return self._segments[-1](x, carried)[0]


class _Step:
    """A temporal module, and the line in which carried tensors wait for its answers."""

    def __init__(self, shift: RecurrentTemporalShift) -> None:
        self._stream = ShiftStream(shift)
        self._lines: tuple[list[Tensor], ...] = ()  # of single frames

    def push(self, x: Tensor, carried: Carried) -> tuple[Tensor, Carried] | None:
        if not self._lines:
            self._lines = tuple([] for _ in carried)
        for line, part in zip(self._lines, carried, strict=True):
            line += single_frames(part)
        return self._go_on(self._stream.push(x))

    def flush(self) -> tuple[Tensor, Carried] | None:
        return self._go_on(self._stream.flush())

    def _go_on(self, out: Tensor | None) -> tuple[Tensor, Carried] | None:
        """With what waited for the frames that have come out."""
        if out is None:
            return None
        done = len(out)
        carried = tuple(joined(line[:done]) for line in self._lines)
        for line in self._lines:
            del line[:done]
        return out, carried
