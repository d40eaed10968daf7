"""Follows decoding frame by frame: timestamps, counts, and the position behind each."""

from __future__ import annotations

from dataclasses import replace

from upframe.media.decoding import Decoded, timestamp
from upframe.media.frames import SourceInfo
from upframe.media.position import Position
from upframe.media.timestamps import TimestampRepair, nominal_step


class Tracker:
    """Gives decoded frames their timestamps and keeps the counts of warnings.

    Args:
        info: of the source.
        start: seconds after the first frame at which numbering begins.
        at: position behind which the frames follow; None for all frames.
        base: the frame before them; None where ``at`` is None.
    """

    def __init__(
        self,
        info: SourceInfo,
        start: float,
        at: Position | None,
        base: Decoded | None,
    ) -> None:
        self._info, self._start = info, start
        self._at, self._base = at, base
        self._repair = TimestampRepair(nominal_step(info.rate, info.time_base))
        self.position = at or Position(0, 0, 0, 0, None)
        """Behind the frame pushed last."""
        if at is not None:
            self._repair.last = at.last
            self._repair.missing, self._repair.moved = at.missing, at.moved

    def push(self, item: Decoded) -> float:
        """Take the next frame; returns its time in seconds after the first frame."""
        before, frame, info = self.position, item.frame, self._info
        pts = self._repair.push(timestamp(frame))
        first = before.first if before.decoded else pts
        seconds = float((pts - first) * info.time_base)
        taken = seconds >= self._start - 1e-9
        resized = (frame.width, frame.height) != (info.width, info.height)
        position = Position(
            frame=before.frame + taken,
            decoded=before.decoded + 1,
            first=first,
            last=pts,
            raw=frame.pts,
            missing=self._repair.missing,
            moved=self._repair.moved,
            resized=before.resized + (resized and taken),
            damaged=item.damaged,
            marred=item.marred,
            intact=item.intact,
        )
        self.position = self._since(position)
        return seconds

    def end(self, damaged: int) -> Position:
        """The position at the end of the file.

        Args:
            damaged: errors of the decoder in all, those behind the last frame too.
        """
        if self._at is not None and self._base is not None:
            damaged += self._at.damaged - self._base.damaged
        return replace(self.position, damaged=damaged)

    def _since(self, position: Position) -> Position:
        """Count from the start of the file what the decoder counts from its own."""
        at, base = self._at, self._base
        if at is None or base is None:
            return position
        calm = (position.damaged, position.marred) == (base.damaged, base.marred)
        return replace(
            position,
            damaged=position.damaged + at.damaged - base.damaged,
            marred=position.marred + at.marred - base.marred,
            intact=at.intact + position.decoded - at.decoded
            if calm
            else position.intact,
        )
