"""A bounded queue between threads that can be closed and cancelled."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 - it ends a thread, it is no fault
    """The other side has stopped; end this thread."""


class Channel(Generic[T]):
    """First in, first out; the writer waits while ``size`` items are unread."""

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque()
        self._size = size
        self._closed = self._cancelled = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Add an item, waiting for room.

        Raises:
            Cancelled: nobody will read it.
        """
        with self._changed:
            while len(self._items) >= self._size and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                raise Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """No more items will come; the reader ends after those that are there."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Stop both sides at once and drop what is queued."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Read until closed.

        Raises:
            Cancelled: the writer has failed or was stopped.
        """
        while True:
            with self._changed:
                while not self._items and not self._closed and not self._cancelled:
                    # A time-out lets the main thread see Ctrl-C on every platform.
                    self._changed.wait(timeout=1.0)
                if self._cancelled:
                    raise Cancelled
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
