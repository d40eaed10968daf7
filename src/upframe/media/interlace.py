"""Finding and removing interlacing, through FFmpeg's idet and bwdif filters."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame

_COMBED_SHARE = 0.6
_MIN_COMBED = 4


def _graph(frame: VideoFrame, time_base: Any, name: str, options: str) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=time_base,
    )
    stage = graph.add(name, options)
    sink = graph.add("buffersink")
    source.link_to(stage)
    stage.link_to(sink)
    graph.configure()
    return graph


def _drain(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def looks_interlaced(frames: Iterable[VideoFrame], time_base: Any) -> bool:
    """Whether the frames are interlaced, by their flags or by combing.

    Args:
        frames: decoded pictures from the start of a stream; 10 to 100 are enough.
        time_base: time base of the stream.

    Returns:
        True when half of the frames are flagged as interlaced, or when idet finds
        combing of one field order in at least 60% of the frames it can judge, and in
        four.
    """
    flagged = total = 0
    kinds: Counter[str] = Counter()
    graph: Graph | None = None
    for frame in frames:
        total += 1
        flagged += bool(frame.interlaced_frame)
        if frame.height < 32 or frame.width < 32:
            continue
        if graph is None:
            graph = _graph(frame, time_base, "idet", "")
        graph.vpush(frame)
        for out in _drain(graph):
            # PyAV 17 (Python 3.10) does not show it: there the flags must do.
            found = getattr(out, "metadata", {})
            kinds[found.get("lavfi.idet.single.current_frame", "")] += 1
    if total and flagged / total >= 0.5:
        return True
    # Fields come in one order; drawn patterns that fool idet fool it both ways.
    combed = max(kinds["tff"], kinds["bff"])
    judged = kinds["tff"] + kinds["bff"] + kinds["progressive"]
    return combed >= _MIN_COMBED and combed / judged >= _COMBED_SHARE


class Deinterlacer:
    """bwdif, one frame out for each frame in; timestamps stay with their frames."""

    def __init__(self, time_base: Any) -> None:
        self._time_base = time_base
        self._graph: Graph | None = None
        self._owed: deque[tuple[int | None, int | None, int]] = deque()

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Give the next frame; yields the frames that are ready."""
        if self._graph is None:
            self._graph = _graph(
                frame, self._time_base, "bwdif", "mode=send_frame:deint=all"
            )
        self._owed.append((frame.pts, frame.dts, frame.duration))
        self._graph.vpush(frame)
        yield from self._ready()

    def flush(self) -> Iterator[VideoFrame]:
        """End of the frames; yields those still owed."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()

    def _ready(self) -> Iterator[VideoFrame]:
        assert self._graph is not None
        for out in _drain(self._graph):
            pts, dts, duration = self._owed.popleft()
            out.time_base = self._time_base
            out.pts, out.dts, out.duration = pts, dts, duration
            yield out
