"""The packets of finished segments, with their true times, beside other streams'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet

from upframe.errors import OutputError
from upframe.media.container import open_input
from upframe.media.timestamps import decode_times


@dataclass(frozen=True)
class Segment:
    """One finished work file and the true timestamps of its frames."""

    path: Path
    pts: tuple[int, ...]
    """In presentation order, in the source's time base, strictly rising."""


def video_packets(
    segments: Sequence[Segment],
    time_base: Fraction,
    shift: Fraction,
    last_duration: int,
) -> Iterator[Packet[Any]]:
    """All video packets in decode order, with the true timestamps."""
    pts = [value for segment in segments for value in segment.pts]
    offset = round(shift / time_base)
    pts = [value + offset for value in pts]
    ranks: list[int] = []
    base = 0
    for segment in segments:
        ranks += [base + rank for rank in _ranks(segment)]
        base += len(segment.pts)
    dts = decode_times(ranks, pts)
    at = 0
    for segment in segments:
        with open_input(segment.path) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                rank = ranks[at]
                packet.time_base = time_base
                packet.pts, packet.dts = pts[rank], dts[at]
                if rank + 1 < len(pts):
                    packet.duration = pts[rank + 1] - pts[rank]
                else:
                    packet.duration = last_duration
                at += 1
                yield packet


def _ranks(segment: Segment) -> list[int]:
    """Presentation order of a segment's packets, as they stand in decode order."""
    with open_input(segment.path) as container:
        times = [
            packet.pts
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]
    if len(times) != len(segment.pts) or None in times:
        raise OutputError(
            f"The work file {segment.path} holds {len(times)} frames "
            f"instead of {len(segment.pts)}.",
            "Run again with --fresh; if it happens again, choose another -c:v.",
        )
    order = sorted(range(len(times)), key=lambda i: times[i])  # type: ignore[arg-type, return-value]
    ranks = [0] * len(times)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def merge(
    video: Any,
    packets: Iterator[Packet[Any]],
    others: Iterator[tuple[Any, Packet[Any]]],
) -> Iterator[tuple[Any, Packet[Any]]]:
    """Both in order of decode time, so that the file plays without seeking."""
    ahead = next(others, None)
    for packet in packets:
        assert packet.dts is not None
        now = packet.dts * packet.time_base
        while ahead is not None:
            other = ahead[1]
            if other.dts is not None and other.dts * other.time_base > now:
                break
            yield ahead
            ahead = next(others, None)
        yield video, packet
    while ahead is not None:
        yield ahead
        ahead = next(others, None)
