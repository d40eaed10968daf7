"""Frames through scenes, chunks and a network: the part files and streams share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from upframe.errors import RuntimeFailure, UsageError
from upframe.media.colour import Pixels
from upframe.media.frames import Frame
from upframe.nn.resize import imresize
from upframe.planning.chunks import Chunker, Close, Event, Feed, Open
from upframe.planning.scenes import ContentDetector
from upframe.runtimes.base import ContinuedSession, FloatFrame, Marks, Session, State
from upframe.runtimes.recurrent import RecurrentSession


@dataclass(frozen=True)
class Begin:
    """A chunk starts."""

    chunk: int
    start: int
    """First frame whose output is kept."""
    first: int
    """First frame that is given to the network."""
    continues: bool
    """Whether it goes on with the scene of the chunk before."""


@dataclass(frozen=True)
class Step:
    """A frame for the network; its output is kept if it is core."""

    frame: Frame
    core: bool


@dataclass(frozen=True)
class End:
    """A chunk is complete: ``[start, stop)``."""

    chunk: int
    start: int
    stop: int
    state: State = field(default_factory=dict)
    """What it leaves to the next chunk of its scene."""


Work = Begin | Step | End


class Feeder:
    """Turns decoded frames into work: finds cuts, forms chunks, keeps context.

    Args:
        chunk_length: most frames in a chunk.
        context: frames that a chunk needs on both sides.
    """

    def __init__(self, chunk_length: int, context: int) -> None:
        self._detector = ContentDetector()
        self._chunker = Chunker(chunk_length, context)
        self._kept: deque[Frame] = deque(maxlen=self._chunker.history + 1)
        self._count = 0
        self._start = 0
        self.cuts: list[int] = []

    def push(self, frame: Frame) -> Iterator[Work]:
        """Give the next frame; yields the work that is now known."""
        cut = self._detector.push(frame.pixels[..., :3])
        if cut:
            self.cuts.append(self._count)
        self._kept.append(frame)
        self._count += 1
        yield from self._work(self._chunker.push(cut))

    def finish(self) -> Iterator[Work]:
        """End of the frames; yields the work that is left."""
        yield from self._work(self._chunker.finish())

    def _work(self, events: list[Event]) -> Iterator[Work]:
        for event in events:
            if isinstance(event, Open):
                self._start = event.start
                yield Begin(event.chunk, event.start, event.first, event.continues)
            elif isinstance(event, Feed):
                yield Step(self._kept[event.frame - self._count], event.core)
            elif isinstance(event, Close):
                yield End(event.chunk, self._start, event.stop)


@dataclass(frozen=True)
class Result:
    """One finished picture."""

    pixels: Pixels
    """(H, W, 3 or 4), at the size and depth that were asked for."""
    frame: Frame
    """The frame it was made from."""


Watch = Callable[[int, Frame, Marks], None]
"""Looks at what was computed of a frame."""


class Stepper:
    """Runs work through sessions of a network and gives finished pictures.

    Args:
        make_session: starts a session; called once for each chunk.
        size: output (height, width); results of another size are resized (Lanczos).
        deep: give uint16 instead of uint8.
        alpha: give RGBA where the frames have alpha; alpha is resized (bicubic).
        lookahead: frames behind the core of a chunk that the network needs; those after
            them are passed over. None gives it all.
        watch: called for each picture with the number of its frame, the frame, and the
            marks of what was computed (see ``RecurrentSession``).
    """

    def __init__(
        self,
        make_session: Callable[[], Session],
        size: tuple[int, int],
        *,
        deep: bool,
        alpha: bool,
        lookahead: int | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._make_session = make_session
        self._size = size
        self._deep, self._alpha = deep, alpha
        self._session: Session | None = None
        self._lookahead, self._watch = lookahead, watch
        self._owed: deque[tuple[Frame, bool]] = deque()
        self._behind: int | None = None
        """Frames given after the core; None before its end."""
        self._number = 0

    def begin(self, work: Begin, state: State) -> None:
        """Start a chunk.

        Args:
            work: where it begins.
            state: what the chunk before it left.
        """
        self._session = self._make_session()
        if isinstance(self._session, ContinuedSession):
            self._session.begin(work.first, state if work.continues else {})
        self._behind, self._number = None, work.start

    def step(self, work: Step) -> Iterator[Result]:
        """Run one frame; yields the pictures that are ready."""
        assert self._session is not None
        if work.core:
            self._behind = 0
        elif self._behind is not None:
            if self._behind == self._lookahead:
                return
            self._behind += 1
        self._owed.append((work.frame, work.core))
        yield from self._results(self._session.push(as_float(work.frame.pixels)))

    def state(self) -> State:
        """What the chunk leaves to the next one, once `end` has been gone through."""
        if isinstance(self._session, ContinuedSession):
            return self._session.state()
        return {}

    def end(self) -> Iterator[Result]:
        """End a chunk; yields the pictures still owed."""
        assert self._session is not None
        yield from self._results(self._session.flush())
        if self._owed:
            raise RuntimeFailure(
                f"The model kept back {len(self._owed)} frames.",
                "This is a fault of upframe; please report it with the command.",
            )

    def _results(self, outputs: Iterable[FloatFrame]) -> Iterator[Result]:
        outputs = list(outputs)
        marks = self._marks() if self._watch is not None and outputs else []
        for place, output in enumerate(outputs):
            frame, core = self._owed.popleft()
            if core:
                if self._watch is not None:
                    self._watch(self._number, frame, marks[place])
                self._number += 1
                yield Result(self._finish(output, frame), frame)

    def _marks(self) -> list[Marks]:
        """Of the outputs of the last push or flush."""
        if not isinstance(self._session, RecurrentSession):
            raise UsageError(
                "This model or way of running it has no masks of whole frames to show.",
                "Use MIA-VSR lite, and memory enough for frames that are not cut.",
            )
        return self._session.computed

    def _finish(self, output: FloatFrame, frame: Frame) -> Pixels:
        if output.shape[:2] != self._size:
            output = imresize(output, size=self._size, kernel="lanczos3")
            output = np.asarray(np.clip(output, 0, 1, out=output), np.float32)
        pixels = quantise(output, deep=self._deep)
        if not self._alpha or frame.pixels.shape[2] == 3:
            return pixels
        alpha = as_float(frame.pixels[..., 3:])
        alpha = np.asarray(imresize(alpha, size=self._size).clip(0, 1), np.float32)
        plane = quantise(alpha.reshape(*self._size, 1), deep=self._deep)
        merged: Pixels = np.concatenate([pixels, plane], axis=2)
        return merged


def as_float(pixels: Pixels) -> FloatFrame:
    """uint8 or uint16 pixels as RGB float32 in [0, 1]; an alpha plane is left out."""
    if pixels.shape[2] == 4:
        pixels = pixels[..., :3]
    top = 255.0 if pixels.dtype == np.uint8 else 65535.0
    out: NDArray[np.float32] = np.multiply(
        pixels, np.float32(1 / top), dtype=np.float32, order="C"
    )
    return out


def quantise(image: FloatFrame, *, deep: bool) -> Pixels:
    """Float pixels, which must be in [0, 1], rounded to uint8 or uint16."""
    scaled = image * np.float32(65535.0 if deep else 255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint16) if deep else scaled.astype(np.uint8)
