"""Stopping between two steps: on a signal, or when the time is over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_request(*, patient: bool = False) -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into an answer to "stop after this step?".

    An exception amid a step would leave weights, average and step number of different
    moments, and a resume from them would not be exact. A second signal does interrupt,
    unless ``patient``: ``torchrun`` passes on what the terminal has sent already.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if seen and not patient:
            raise KeyboardInterrupt
        seen.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Budget:
    """Wall-clock time that a call may take, saving included."""

    def __init__(self, minutes: float | None) -> None:
        now = time.monotonic()
        self.begin = now
        self.deadline = None if minutes is None else now + minutes * 60
        """On the clock of ``time.monotonic``; None without a limit."""
        self._step_end = now
        self._step = 0.0
        self._saving = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begin

    def step_begins(self) -> None:
        """The loop turns to the next step: what came before was none."""
        self._step_end = time.monotonic()

    def step_done(self) -> None:
        """A step has ended; the next one is taken to last as long."""
        self._step = time.monotonic() - self._step_end

    def saved(self, seconds: float) -> None:
        """A checkpoint took so long; the last one is taken to take as long."""
        self._saving = seconds

    @property
    def work_ends(self) -> float | None:
        """When all but saving must have ended; None without a limit."""
        return None if self.deadline is None else self.deadline - self._saving

    @property
    def over(self) -> bool:
        """Whether another step would come too late."""
        return self._too_late(self._step)

    @property
    def soon_over(self) -> bool:
        """Whether saving now would leave no time for a step after it."""
        return self._too_late(self._step + self._saving)

    def _too_late(self, seconds: float) -> bool:
        ends = self.work_ends
        return ends is not None and time.monotonic() + seconds > ends
