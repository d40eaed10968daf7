"""Chunks: the pieces in which a video is upscaled, journalled and resumed.

A chunk has a *core*, the frames it is responsible for, and maybe *context*, frames
on both sides that a temporal network sees but whose outputs are thrown away. The
rules, all of them properties that the tests check:

- every frame is core of exactly one chunk, in order;
- a core holds at most ``max_length`` frames;
- no chunk, context included, reaches across a scene cut;
- where a boundary exists only because of ``max_length``, up to ``context`` frames of
  the same scene are fed before and after the core.

The chunker is online: it learns of each frame when the decoder has it, and says what
to do with it at once or, where context must be awaited, at most ``context`` frames
later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Open:
    """A chunk begins: start a session."""

    chunk: int
    """Number of the chunk, counted from 0."""
    start: int
    """First core frame. Context frames, if any, are fed before it."""
    first: int
    """First frame that is fed."""
    continues: bool
    """Whether it goes on with the scene of the chunk before."""


@dataclass(frozen=True)
class Feed:
    """Push a frame into the session of the open chunk."""

    chunk: int
    frame: int
    """Number of the frame in the video, counted from 0."""
    core: bool
    """Whether the output is kept; False for context."""


@dataclass(frozen=True)
class Close:
    """All frames of the chunk have been fed: flush the session."""

    chunk: int
    stop: int
    """One past the last core frame."""


Event = Open | Feed | Close


@dataclass(frozen=True)
class Chunk:
    """A chunk with core ``[start, stop)`` that is fed all its context range."""

    index: int
    start: int
    stop: int
    context_start: int
    """First frame fed, ``<= start``."""
    context_stop: int
    """One past the last frame fed, ``>= stop``."""

    @property
    def length(self) -> int:
        """Number of core frames."""
        return self.stop - self.start


class Chunker:
    """Turns a stream of "is this frame a cut?" into chunk events, one chunk at a time.

    Args:
        max_length: largest number of core frames in a chunk, at least 1.
        context: frames that a chunk wants on each side of its core; with 0 every
            frame is fed by the very push that announces it.

    Raises:
        ValueError: ``max_length`` < 1 or ``context`` < 0.
    """

    def __init__(self, max_length: int, context: int) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, not {max_length}")
        if context < 0:
            raise ValueError(f"context must not be negative, not {context}")
        self._max_length = max_length
        self._context = context
        self._chunk = -1
        self._is_open = False
        self._finished = False
        self._scene_start = 0
        self._start = 0
        """First core frame of the open chunk, or of the next one."""
        self._fed = 0
        """One past the last frame fed to the open chunk."""
        self._end = 0
        """Number of frames pushed so far."""

    @property
    def history(self) -> int:
        """Frames older than the newest that the caller must still be able to feed.

        A ``Feed`` returned by push ``n`` names a frame ``>= n - history``; one that
        ``finish`` returns names a frame ``>= last - history``.
        """
        return max(0, 2 * self._context - 1)

    def push(self, cut: bool) -> list[Event]:
        """Announce the next frame.

        Args:
            cut: whether this frame starts a new scene; of no effect for frame 0.

        Returns:
            What to do now, in order.
        """
        if self._finished:
            raise ValueError("push after finish")
        events: list[Event] = []
        if cut:
            self._end_scene(events)
        self._end += 1
        self._advance(events, scene_over=False)
        return events

    def finish(self) -> list[Event]:
        """Announce the end of the video; may be called once.

        Returns:
            What to do now, in order; afterwards no chunk is open.
        """
        if self._finished:
            raise ValueError("finish called twice")
        self._finished = True
        events: list[Event] = []
        self._end_scene(events)
        return events

    def _end_scene(self, events: list[Event]) -> None:
        self._advance(events, scene_over=True)
        self._scene_start = self._start = self._end

    def _advance(self, events: list[Event], *, scene_over: bool) -> None:
        """Feed all frames that exist; close and open chunks as far as is known."""
        while True:
            if not self._is_open:
                if self._start == self._end:
                    return
                self._chunk += 1
                self._is_open = True
                self._fed = max(self._scene_start, self._start - self._context)
                goes_on = self._start > self._scene_start
                events.append(Open(self._chunk, self._start, self._fed, goes_on))
            core_stop = self._start + self._max_length
            while self._fed < min(self._end, core_stop + self._context):
                core = self._start <= self._fed < core_stop
                events.append(Feed(self._chunk, self._fed, core))
                self._fed += 1
            if not scene_over and self._fed < core_stop + self._context:
                return
            stop = min(core_stop, self._end)
            events.append(Close(self._chunk, stop))
            self._is_open = False
            self._start = stop


def chunks_of(
    cuts: Iterable[int], n_frames: int, max_length: int, context: int
) -> list[Chunk]:
    """All chunks of a video whose cuts are known, exactly as ``Chunker`` makes them.

    Args:
        cuts: frames that start a new scene; frame 0 may be named or not.
        n_frames: number of frames.
        max_length: as for ``Chunker``.
        context: as for ``Chunker``.

    Raises:
        ValueError: as ``Chunker``, or ``n_frames`` < 0.
    """
    if n_frames < 0:
        raise ValueError(f"n_frames must not be negative, not {n_frames}")
    starts = frozenset(cuts)
    chunker = Chunker(max_length, context)
    chunks: list[Chunk] = []
    start = 0
    fed: list[int] = []

    def take(events: list[Event]) -> None:
        nonlocal start
        for event in events:
            if isinstance(event, Open):
                start = event.start
                fed.clear()
            elif isinstance(event, Feed):
                fed.append(event.frame)
            else:
                chunks.append(
                    Chunk(event.chunk, start, event.stop, fed[0], fed[-1] + 1)
                )

    for frame in range(n_frames):
        take(chunker.push(frame in starts))
    take(chunker.finish())
    return chunks
