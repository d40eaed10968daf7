"""Checking a finished file against the plan, before it is renamed into place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from upframe.errors import VerificationError
from upframe.media.container import open_input
from upframe.media.mux import JoinResult, countable_tracks


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
    times: list[Fraction] = []
    counts: Counter[int] = Counter()
    with open_input(path) as container:
        tracks = countable_tracks(container)
        stream = tracks["video"][result.video_track]
        tick = Fraction(stream.time_base or 1)
        context: Any = stream.codec_context
        if (context.width, context.height) != size:
            raise _failure(
                path, f"it is {context.width}x{context.height}, not {size[0]}x{size[1]}"
            )
        for packet in container.demux():
            if not packet.size:
                continue
            counts[packet.stream.index] += 1
            if packet.stream.index == stream.index and packet.pts is not None:
                times.append(packet.pts * tick)
        lost = result.metadata - {key.lower() for key in container.metadata}
        # Streams must not be touched once the container is closed.
        packets = {
            kind: [counts[track.index] for track in found]
            for kind, found in tracks.items()
        }
    times.sort()
    if len(times) != len(expected):
        raise _failure(path, f"{len(times)} frames instead of {len(expected)}")
    for kind, written in result.packets.items():
        found = packets[kind]
        if len(found) != len(written) or any(
            a < b for a, b in zip(found, written, strict=True)
        ):
            raise _failure(
                path, f"its {kind} tracks hold {found} packets instead of {written}"
            )
    offset = times[0] - expected[0]
    worst = max(abs(t - e) for t, e in zip(times, expected, strict=True))
    shifted = max(abs(t - offset - e) for t, e in zip(times, expected, strict=True))
    if shifted > tick:
        raise _failure(path, f"timestamps differ by up to {float(shifted):.4f} s")
    warnings = []
    if lost:
        warnings.append(
            f"The container cannot hold the tags: {', '.join(sorted(lost))}."
        )
    if abs(offset) > tick:
        warnings.append(
            f"All timestamps are {float(offset):+.4f} s later than in the input: the "
            "container cannot hold negative times. Sound and video stay together."
        )
    elif worst:
        warnings.append(
            f"The container rounds timestamps to {float(tick) * 1000:g} ms "
            f"(at most {float(worst) * 1000:.2f} ms off)."
        )
    return warnings


def _failure(path: Path, what: str) -> VerificationError:
    return VerificationError(
        f"The written file {path} is wrong: {what}.",
        "The output was not touched; run again, or choose another -c:v.",
    )
