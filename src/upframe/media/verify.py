"""Checking a finished file against the plan, before it is renamed into place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from upframe.errors import VerificationError
from upframe.media.container import open_input
from upframe.media.tracks import JoinResult, countable_tracks


@dataclass(frozen=True)
class _Written:
    """What a finished file holds, by its packets."""

    size: tuple[int, int]
    tick: Fraction
    times: list[Fraction]
    """Presentation times of the upscaled video, rising."""
    packets: dict[str, list[int]]
    """Packets of each track, by type."""
    sizes: dict[str, list[int]]
    """Bytes in them."""
    metadata: frozenset[str]


def verify(
    path: Path,
    expected: Sequence[Fraction],
    result: JoinResult,
    size: tuple[int, int],
) -> list[str]:
    """Read the packets of a written file and compare them with the plan.

    Args:
        path: the file.
        expected: presentation times of all frames in seconds, rising.
        result: what was written.
        size: width and height in pixels.

    Returns:
        Warnings: timestamps that the container had to round or shift.

    Raises:
        VerificationError: frames, packets or timestamps are missing or differ.
    """
    found = _read(path, result.video_track)
    if found.size != size:
        raise _failure(
            path, f"it is {found.size[0]}x{found.size[1]}, not {size[0]}x{size[1]}"
        )
    if len(found.times) != len(expected):
        raise _failure(path, f"{len(found.times)} frames instead of {len(expected)}")
    for kind, written in result.packets.items():
        counts = found.packets[kind]
        # MOV joins packets of PCM, and MP4 takes headers off each packet of AAC.
        sizes = zip(found.sizes[kind], result.sizes[kind], strict=False)
        whole = [a >= b for a, b in sizes]
        if len(counts) != len(written) or any(
            a < b and not same
            for a, b, same in zip(counts, written, whole, strict=True)
        ):
            raise _failure(
                path, f"its {kind} tracks hold {counts} packets instead of {written}"
            )
    warnings = []
    lost = result.metadata - found.metadata
    if lost:
        warnings.append(
            f"The container cannot hold the tags: {', '.join(sorted(lost))}."
        )
    return warnings + _check_times(path, found, expected)


def _read(path: Path, track: int) -> _Written:
    times: list[Fraction] = []
    counts: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    with open_input(path) as container:
        tracks = countable_tracks(container)
        stream = tracks["video"][track]
        context: Any = stream.codec_context
        tick = Fraction(stream.time_base or 1)
        for packet in container.demux():
            if not packet.size:
                continue
            counts[packet.stream.index] += 1
            sizes[packet.stream.index] += packet.size
            if packet.stream.index == stream.index and packet.pts is not None:
                times.append(packet.pts * tick)
        # Streams must not be touched once the container is closed.
        return _Written(
            size=(context.width, context.height),
            tick=tick,
            times=sorted(times),
            packets={
                kind: [counts[found.index] for found in streams]
                for kind, streams in tracks.items()
            },
            sizes={
                kind: [sizes[found.index] for found in streams]
                for kind, streams in tracks.items()
            },
            metadata=frozenset(key.lower() for key in container.metadata),
        )


def _check_times(
    path: Path, found: _Written, expected: Sequence[Fraction]
) -> list[str]:
    times, tick = found.times, found.tick
    offset = times[0] - expected[0]
    worst = max(abs(t - e) for t, e in zip(times, expected, strict=True))
    shifted = max(abs(t - offset - e) for t, e in zip(times, expected, strict=True))
    if shifted > tick:
        raise _failure(path, f"timestamps differ by up to {float(shifted):.4f} s")
    if abs(offset) > tick:
        return [
            f"All timestamps are {float(offset):+.4f} s later than in the input: the "
            "container cannot hold negative times. Sound and video stay together."
        ]
    if worst:
        return [
            f"The container rounds timestamps to {float(tick) * 1000:g} ms "
            f"(at most {float(worst) * 1000:.2f} ms off)."
        ]
    return []


def _failure(path: Path, what: str) -> VerificationError:
    return VerificationError(
        f"The written file {path} is wrong: {what}.",
        "The output was not touched; run again, or choose another -c:v.",
    )
