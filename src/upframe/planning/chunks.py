"""Chunks: the pieces in which a video is upscaled, journalled and resumed.

A chunk has a *core*, the frames it is responsible for, and maybe *context*, frames
on both sides that a temporal network sees but whose outputs are dropped. The
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

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
"""A frame: decoded pixels, or None where only numbers matter."""


@dataclass(frozen=True)
class Begin:
    """A chunk begins: start a session."""

    chunk: int
    """Number of the chunk, counted from 0."""
    start: int
    """First core frame. Context frames, if any, are fed before it."""
    first: int
    """First frame that is fed."""
    continues: bool
    """Whether it continues the scene of the chunk before."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """Push a frame into the session of the open chunk."""

    number: int
    """Number of the frame in the video, counted from 0."""
    frame: T
    core: bool
    """Whether the output is kept; False for context."""


@dataclass(frozen=True)
class End:
    """All frames of the chunk ``[start, stop)`` have been fed: flush the session."""

    chunk: int
    start: int
    """First core frame."""
    stop: int
    """One past the last core frame."""


Event: TypeAlias = Begin | Step[T] | End


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


class Chunker(Generic[T]):
    """Turns a stream of frames and scene cuts into chunk events, one chunk at a time.

    It keeps the frames that a later chunk may need as context, and no others.

    Args:
        max_length: largest number of core frames in a chunk, at least 1.
        context: frames that a chunk wants on each side of its core; with 0 every
            frame is fed by the very push that brings it.

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
        self._frames: deque[T] = deque(maxlen=self.history + 1)

    def resume(self, chunk: int, start: int, scene_start: int) -> None:
        """Go on with a chunk of an earlier run, before the first push.

        The first frame pushed is then frame ``max(scene_start, start - context)``.

        Args:
            chunk: number of the chunk.
            start: its first core frame.
            scene_start: where the scene of the frame before begins.
        """
        self._chunk, self._start = chunk - 1, start
        self._scene_start = scene_start
        self._end = max(scene_start, start - self._context)

    @property
    def history(self) -> int:
        """Frames older than the newest that are kept.

        A ``Step`` of push ``n`` feeds a frame ``>= n - history``; one of ``finish``
        feeds a frame ``>= last - history``.
        """
        return max(0, 2 * self._context - 1)

    def push(self, frame: T, *, cut: bool) -> list[Event[T]]:
        """Give the next frame.

        Args:
            frame: the frame.
            cut: whether it starts a new scene; of no effect for frame 0.

        Returns:
            What to do now, in order.
        """
        if self._finished:
            raise ValueError("push after finish")
        events: list[Event[T]] = []
        if cut:
            self._end_scene(events)
        self._frames.append(frame)
        self._end += 1
        self._advance(events, scene_over=False)
        return events

    def finish(self) -> list[Event[T]]:
        """The video is over; may be called once.

        Returns:
            What to do now, in order; afterwards no chunk is open.
        """
        if self._finished:
            raise ValueError("finish called twice")
        self._finished = True
        events: list[Event[T]] = []
        self._end_scene(events)
        return events

    def _end_scene(self, events: list[Event[T]]) -> None:
        self._advance(events, scene_over=True)
        self._scene_start = self._start = self._end

    def _advance(self, events: list[Event[T]], *, scene_over: bool) -> None:
        """Feed all frames that exist; close and open chunks as far as is known."""
        while True:
            if not self._is_open:
                if self._start >= self._end:
                    return
                self._chunk += 1
                self._is_open = True
                self._fed = max(self._scene_start, self._start - self._context)
                goes_on = self._start > self._scene_start
                events.append(Begin(self._chunk, self._start, self._fed, goes_on))
            core_stop = self._start + self._max_length
            while self._fed < min(self._end, core_stop + self._context):
                core = self._start <= self._fed < core_stop
                frame = self._frames[self._fed - self._end]
                events.append(Step(self._fed, frame, core))
                self._fed += 1
            if not scene_over and self._fed < core_stop + self._context:
                return
            stop = min(core_stop, self._end)
            events.append(End(self._chunk, self._start, stop))
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
    chunker: Chunker[None] = Chunker(max_length, context)
    events = [
        event
        for frame in range(n_frames)
        for event in chunker.push(None, cut=frame in starts)
    ]
    chunks: list[Chunk] = []
    fed: list[int] = []
    for event in (*events, *chunker.finish()):
        if isinstance(event, Step):
            fed.append(event.number)
        elif isinstance(event, End):
            chunks.append(
                Chunk(event.chunk, event.start, event.stop, fed[0], fed[-1] + 1)
            )
            fed.clear()
    return chunks


def events_of(
    chunk: Chunk, frames: Iterable[T], *, continues: bool
) -> Iterator[Event[T]]:
    """The events of one chunk whose frames are at hand, as ``Chunker`` makes them.

    Args:
        chunk: the chunk.
        frames: the frames ``[context_start, context_stop)`` in order.
        continues: whether it continues the scene of the chunk before.
    """
    yield Begin(chunk.index, chunk.start, chunk.context_start, continues)
    numbers = range(chunk.context_start, chunk.context_stop)
    for number, frame in zip(numbers, frames, strict=True):
        yield Step(number, frame, chunk.start <= number < chunk.stop)
    yield End(chunk.index, chunk.start, chunk.stop)
