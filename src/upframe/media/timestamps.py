"""Presentation timestamps: kept exactly where they make sense, repaired where not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass
class TimestampRepair:
    """Gives every frame a timestamp that is later than the one before.

    Timestamps that are there and rise pass through unchanged. A missing one is the
    one before plus one frame; a repeated or backward one is moved just past the one
    before. How often that happened is counted.

    Args:
        step: one nominal frame in timestamp units, at least 1.
        last: the timestamp given last; None at the start.
        missing: timestamps so far that were missing.
        moved: timestamps so far that did not rise.
    """

    step: int
    last: int | None = None
    missing: int = 0
    moved: int = 0

    def push(self, pts: int | None) -> int:
        """The timestamp to use for the next frame in presentation order."""
        if pts is None:
            self.missing += 1
            pts = 0 if self.last is None else self.last + self.step
        elif self.last is not None and pts <= self.last:
            self.moved += 1
            back = self.last - pts
            pts = self.last + (self.step if back > self.step else 1)
        self.last = pts
        return pts


def nominal_step(rate: Fraction, time_base: Fraction) -> int:
    """One frame at ``rate`` per second in units of ``time_base``, at least 1."""
    return max(1, round(1 / (rate * time_base)))


def decode_times(ranks: list[int], pts: list[int]) -> list[int]:
    """Decode timestamps for packets that are reordered by B-frames.

    The decode times are the sorted presentation times, delayed by the reordering
    depth, so that they rise and never pass the presentation time of their packet.

    Args:
        ranks: for each packet in decode order, its place in presentation order.
        pts: presentation timestamps in presentation order, strictly rising.

    Returns:
        One decode timestamp per packet, strictly rising.
    """
    delay = max((i - rank for i, rank in enumerate(ranks)), default=0)
    if not pts:
        return []
    step = max(1, pts[1] - pts[0]) if len(pts) > 1 else 1
    lead = [pts[0] - step * k for k in range(delay, 0, -1)]
    return (lead + pts)[: len(ranks)]
