"""Finding and removing interlacing, through FFmpeg's idet and bwdif filters."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from upframe.media.colour import bit_depth

_MAY_HIDE_FIELDS = frozenset(
    {
        "", "dvvideo", "ffv1", "ffvhuff", "h264", "huffyuv", "lagarith", "magicyuv",
        "mjpeg", "mpeg2video", "mpeg4", "rawvideo", "utvideo", "v210", "vc1", "wmv3",
    }
)  # fmt: skip
"""Codecs whose interlaced streams often carry no flag. Others have no fields, or flag
them."""
_COMBED_SHARE = 0.6
_MIN_COMBED = 4
_COLUMNS = 512
"""Middle columns that the field order is read from."""


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


def looks_interlaced(
    frames: Iterable[VideoFrame], time_base: Any, codec: str = ""
) -> bool:
    """Whether the frames are interlaced, by codec and flags, else by their pixels.

    Args:
        frames: decoded frames from the start of a stream; 10 to 100 are enough.
        time_base: time base of the stream.
        codec: FFmpeg's name of the codec.

    Returns:
        True when half of the frames are flagged as interlaced. Frames without flags
        must be 8-bit frames of a codec that has fields; then idet must find combing of
        one field order in at least 60% of the frames it can judge, and in four, and
        `_field_order` must find the same order.
    """
    listed = list(frames)
    flagged = sum(bool(frame.interlaced_frame) for frame in listed)
    if listed and flagged / len(listed) >= 0.5:
        return True
    deep = any(bit_depth(frame.format.name) > 8 for frame in listed[:1])
    if deep or codec not in _MAY_HIDE_FIELDS:
        return False
    large = [f for f in listed if min(f.height, f.width) >= 32]
    combed = _combed_order(large, time_base)
    return combed is not None and combed == _field_order(large)


def _combed_order(frames: list[VideoFrame], time_base: Any) -> str | None:
    """``tff`` or ``bff`` if idet finds most frames combed in that order."""
    kinds: Counter[str] = Counter()
    graph: Graph | None = None
    for frame in frames:
        if graph is None:
            graph = _graph(frame, time_base, "idet", "")
        graph.vpush(frame)
        for out in _drain(graph):
            kinds[out.metadata.get("lavfi.idet.single.current_frame", "")] += 1
    judged = kinds["tff"] + kinds["bff"] + kinds["progressive"]
    order = "tff" if kinds["tff"] >= kinds["bff"] else "bff"
    enough = kinds[order] >= max(_MIN_COMBED, _COMBED_SHARE * judged)
    return order if enough else None


def _field_order(frames: list[VideoFrame]) -> str | None:
    """``tff`` or ``bff`` if the fields of most frames come from two moments.

    The fields of a progressive frame fit each other better than the neighbours'. In
    interlaced video the second field fits the first of the next frame as well, and
    the other two fields of both frames are three half steps apart.
    """
    votes: Counter[str] = Counter()
    before: Any = None
    for frame in frames:
        luma: Any = frame.reformat(format="gray").to_ndarray()
        left = max(0, (luma.shape[1] - _COLUMNS) // 2)
        rows = luma.shape[0] // 2 * 2
        fields = luma[:rows, left : left + _COLUMNS].astype(np.int16)
        even, odd = fields[0::2], fields[1::2]
        if before is not None and before[0].shape == even.shape:
            own = _misfit(*before)
            top, bottom = _misfit(even, before[1]), _misfit(before[0], odd)
            least, most = min(own, top, bottom), max(own, top, bottom)
            if most - least > 0.3 + 0.05 * least:  # else nothing moves
                span = most - least
                clear = abs(top - bottom) > 0.5 * span
                clear = clear and abs(own - min(top, bottom)) < 0.4 * span
                votes[("tff" if top < bottom else "bff") if clear else ""] += 1
        before = even, odd
    order = "tff" if votes["tff"] >= votes["bff"] else "bff"
    enough = votes[order] >= max(_MIN_COMBED, _COMBED_SHARE * votes.total())
    return order if enough else None


def _misfit(even: Any, odd: Any) -> float:
    """How much the odd rows differ from the mean of the even rows around them."""
    return float(np.abs(2 * odd[:-1] - even[:-1] - even[1:]).mean())


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
