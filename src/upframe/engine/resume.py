"""Where a killed run goes on without decoding again what is done.

Chunk boundaries depend on scene cuts, and those on the frames before. So the record of
a chunk holds what the next chunk needs: the position of the decoder some frames before
it, the memory of the cut detector, and where the scene began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from upframe.media.frames import Frame
from upframe.media.position import Position, checksum
from upframe.planning.scenes import DetectorMemory


@dataclass(frozen=True)
class ResumePoint:
    """How to go on behind a finished chunk."""

    chunk: int
    """Number of the next chunk."""
    start: int
    """Its first core frame."""
    scene_start: int
    """First frame of the scene that ``start`` belongs to, as far as that is known."""
    memory: DetectorMemory
    """Of the cut detector before the first frame that the next chunk is fed."""
    position: Position
    """Behind the frame two before that one: the frame between is only compared."""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResumePoint:
        """What `to_dict` gave."""
        memory = dict(values["memory"])
        return cls(
            chunk=values["chunk"],
            start=values["start"],
            scene_start=values["scene_start"],
            memory=DetectorMemory(**{**memory, "recent": tuple(memory["recent"])}),
            position=Position(**values["position"]),
        )


@dataclass(frozen=True)
class _Mark:
    frame: Frame
    memory: DetectorMemory | None
    """Of the detector behind the frame."""


class History:
    """The last frames and what the cut detector remembered behind each.

    Args:
        context: frames that a chunk needs on both sides.
    """

    def __init__(self, context: int) -> None:
        self._context = context
        self._marks: deque[_Mark] = deque(maxlen=2 * context + 3)
        self._end = 0

    def push(self, number: int, frame: Frame, memory: DetectorMemory | None) -> None:
        """Add the frame with a number, once the detector has seen it."""
        self._marks.append(_Mark(frame, memory))
        self._end = number + 1

    def position(self, number: int) -> Position | None:
        """Where decoding stands before the frame with a number; None unknown."""
        mark = self._mark(number - 1)
        if mark is None or mark.frame.position is None:
            return None
        return replace(mark.frame.position, check=checksum(mark.frame.pixels))

    def resume_point(
        self, chunk: int, start: int, scene_start: int
    ) -> ResumePoint | None:
        """How to go on with a chunk; None where only the start of the video will do.

        Args:
            chunk: number of the chunk.
            start: its first core frame.
            scene_start: where the scene of the frame before begins.
        """
        first = max(scene_start, start - self._context)
        position, before = self.position(first - 1), self._mark(first - 1)
        if position is None or before is None or before.memory is None:
            return None
        return ResumePoint(chunk, start, scene_start, before.memory, position)

    def _mark(self, number: int) -> _Mark | None:
        place = number - self._end + len(self._marks)
        return self._marks[place] if 0 <= place < len(self._marks) else None
