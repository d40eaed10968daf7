"""The one loop that runs frames through a model: chunk events in, outputs out.

::

    frames ─▶ SceneChunker ─▶ Begin, Step ..., End ─▶ Driver ─▶ Begin, Output ..., Done
              or events_of      planning.chunks       sessions, carried state

Files (``engine.pipeline``), ``upframe.Upscaler``, evaluation and a single chunk of a
queue differ in where frames come from and in what becomes of the outputs; what happens
between is here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from upframe.engine.resume import History, ResumePoint
from upframe.errors import RuntimeFailure, UsageError
from upframe.media.frames import Frame
from upframe.planning.chunks import Begin, Chunker, End, Event, Step
from upframe.planning.scenes import ContentDetector
from upframe.runtimes.base import FloatFrame, Marks, Session, State

T = TypeVar("T")
"""A frame in whatever form the caller has it."""


@dataclass(frozen=True)
class Output(Generic[T]):
    """What the model made of one core frame."""

    number: int
    """Number of the frame in the video, counted from 0."""
    frame: T
    """The frame it was made from."""
    pixels: FloatFrame
    """(s*h, s*w, 3), float32 in [0, 1]."""
    masks: Marks | None = None
    """What was computed of the frame, where that was asked for."""


@dataclass(frozen=True)
class Done:
    """A chunk is complete; it follows the last output of the chunk."""

    chunk: int
    start: int
    """First core frame."""
    stop: int
    """One past the last core frame."""
    state: State
    """Carried state for the next chunk of the scene."""


class SceneChunker:
    """Turns decoded frames into chunk events: finds scene cuts, forms chunks.

    Args:
        chunk_length: most core frames in a chunk.
        context: frames that a chunk needs on both sides.
        resume: where an earlier run stopped; the first frame pushed is then the one
            behind its position.
    """

    def __init__(
        self, chunk_length: int, context: int, resume: ResumePoint | None = None
    ) -> None:
        self._detector = ContentDetector()
        self._chunker: Chunker[Frame] = Chunker(chunk_length, context)
        self.history = History(context)
        self._count = self._scene_start = self._start = 0
        self._restore = resume
        if resume is not None:
            self._chunker.resume(resume.chunk, resume.start, resume.scene_start)
            self._count, self._start = resume.memory.frame, resume.start
            self._scene_start = resume.scene_start
        self.cuts: list[int] = []
        """Frames that start a new scene."""
        self.resume_points: dict[int, ResumePoint] = {}
        """How to go on behind each complete chunk, where that is possible; there from
        the moment that `push` returns the end of the chunk."""

    def push(self, frame: Frame) -> list[Event[Frame]]:
        """Give the next frame; returns the events that are now known."""
        pixels = frame.pixels[..., :3]
        if self._restore is not None:
            self._detector.restore(self._restore.memory, pixels)
            self.history.push(self._count - 1, frame, self._detector.memory())
            self._restore = None
            return []
        number = self._count
        # what lies before the start of a resumed run is known: no cut behind its scene
        cut = self._detector.push(pixels) and number >= self._start
        self._count += 1
        self.history.push(number, frame, self._detector.memory())
        events = self._chunker.push(frame, cut=cut)
        self._mark_ends(events, number if cut else None)
        if cut:
            self.cuts.append(number)
            self._scene_start = number
        return events

    def finish(self) -> list[Event[Frame]]:
        """End of the frames; returns the remaining events."""
        events = self._chunker.finish()
        self._mark_ends(events, None)
        return events

    def _mark_ends(self, events: list[Event[Frame]], cut: int | None) -> None:
        for event in events:
            if isinstance(event, End):
                scene = event.stop if event.stop == cut else self._scene_start
                point = self.history.resume_point(event.chunk + 1, event.stop, scene)
                if point is not None:
                    self.resume_points[event.chunk] = point


class Driver(Generic[T]):
    """Runs chunks through sessions of a model, one session for each chunk.

    Args:
        open_session: starts a session.
        to_float: converts a frame to (h, w, 3) RGB float32 in [0, 1].
        lookahead: frames after the core of a chunk that the model needs; the rest of
            its context is passed over. None feeds all of it.
        masks: whether outputs carry masks.
        source: name of the input for messages.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        to_float: Callable[[T], FloatFrame],
        *,
        lookahead: int | None = None,
        masks: bool = False,
        source: str = "the video",
    ) -> None:
        self._open_session, self._to_float = open_session, to_float
        self._lookahead, self._masks, self._source = lookahead, masks, source
        self._session: Session | None = None
        self._owed: deque[Step[T]] = deque()
        self._given = 0
        self._after_core: int | None = None
        """Frames fed after the core; None before its end."""
        self.carried: State = {}
        """State that the last chunk handed on; set it before a chunk whose predecessor
        was done by another run."""
        self.seconds = 0.0
        """Wall-clock time inside the model."""

    def run(self, events: Iterable[Event[T]]) -> Iterator[Begin | Output[T] | Done]:
        """Carry out chunk events; may be called again with those that follow.

        Raises:
            RuntimeFailure: the model fails, or does not return every frame.
            UsageError: masks are wanted, and the model has none in this setting.
        """
        for event in events:
            if isinstance(event, Begin):
                yield event
                self._begin(event)
            elif isinstance(event, Step):
                yield from self._step(event)
            else:
                yield from self._end(event)

    def _begin(self, event: Begin) -> None:
        session = self._session = self._open_session()
        if self._masks and session.computed is None:
            raise UsageError(
                "This model or way of running it has no masks of whole frames to show.",
                "Use MIA-VSR lite, and memory enough for frames that are not tiled.",
            )
        session.begin(event.first, self.carried if event.continues else {})
        self._owed.clear()
        self._given, self._after_core = 0, None

    def _step(self, event: Step[T]) -> Iterator[Output[T]]:
        assert self._session is not None
        if event.core:
            self._after_core = 0
        elif self._after_core is not None:
            if self._after_core == self._lookahead:
                return
            self._after_core += 1
        self._owed.append(event)
        self._given += 1
        frame = self._to_float(event.frame)
        began = time.perf_counter()
        outputs = self._session.push(frame)
        self.seconds += time.perf_counter() - began
        yield from self._outputs(outputs)

    def _end(self, event: End) -> Iterator[Output[T] | Done]:
        assert self._session is not None
        began = time.perf_counter()
        outputs = self._session.flush()
        self.seconds += time.perf_counter() - began
        yield from self._outputs(outputs)
        if self._owed:
            raise self._miscounted(self._given - len(self._owed))
        self.carried = self._session.state()
        self._session = None
        yield Done(event.chunk, event.start, event.stop, self.carried)

    def _outputs(self, outputs: list[FloatFrame]) -> Iterator[Output[T]]:
        assert self._session is not None
        if len(outputs) > len(self._owed):
            raise self._miscounted(self._given - len(self._owed) + len(outputs))
        computed = self._session.computed if self._masks else None
        masks: Sequence[Marks | None] = computed or [None] * len(outputs)
        for pixels, shown in zip(outputs, masks, strict=True):
            step = self._owed.popleft()
            if step.core:
                yield Output(step.number, step.frame, pixels, shown)

    def _miscounted(self, made: int) -> RuntimeFailure:
        return RuntimeFailure(
            f"The model made {made} of {self._given} frames of {self._source}.",
            "Report this with the name of the model and the command.",
        )
