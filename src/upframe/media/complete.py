"""Whether an input can be used as a whole: not encrypted, not cut off, not changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.error

from upframe.errors import InputError
from upframe.media.container import changed_during_run, open_input
from upframe.media.probe import main_video

_MUCH = 0.02
"""Share of a file that no index at its end takes."""
_INDEX, _MUCH_UNREAD = 2048, 0.1
"""More bytes, and a larger share, behind the last packet are no index either."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


def stamp_of(path: Path) -> Stamp:
    """What changes when a file is written to.

    Raises:
        InputError: the file has gone.
    """
    try:
        stat = path.stat()
    except OSError as exc:
        raise changed_during_run(path) from exc
    return stat.st_size, stat.st_mtime_ns


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """Compare a file with what it was.

    Raises:
        InputError: it changed, or has gone.
    """
    if stamp_of(path) != stamp:
        raise changed_during_run(path)


def check_readable(name: str, encrypted: frozenset[str]) -> None:
    """Refuse a file whose video is encrypted.

    Raises:
        InputError: it is.
    """
    if "video" in encrypted:
        raise InputError(
            f"The video of {name} is encrypted (copy protection).",
            "Only who has the key can decrypt it; use an unprotected copy.",
        )


@dataclass(frozen=True)
class Length:
    """Length of a file by its header and by its packets."""

    declared: float
    """Duration in the header in seconds; 0 when there is none."""
    end: float
    """End of the last packet of any stream in seconds."""
    packets: int
    """Packets of the video."""
    unread: int = 0
    """Bytes of the file behind the last packet of the video; 0 unknown."""
    marked: bool = True
    """False for a GIF without its end mark."""


def check_complete(
    path: Path,
    missing: int | None,
    length: Length,
    *,
    rate: Fraction,
    start: float,
    duration: float | None,
) -> list[str]:
    """Refuse a file that is cut off before the end of the part that is wanted.

    Structure and packets decide, not the duration in the header, which is often wrong:
    ASF counts its preroll, others the sound, or what was planned.

    Args:
        path: the file.
        missing: bytes missing at its end by `read_structure`; None unknown.
        length: what the packets say.
        rate: frames per second.
        start: seconds after the first frame at which the wanted part begins.
        duration: seconds that are wanted; all when None.

    Returns:
        Warnings, where frames may be missing.

    Raises:
        InputError: the file is cut off; the advice names the part that is there.
    """
    frame = 1 / float(rate)
    needed = length.declared
    if duration is not None:
        needed = min(needed, start + duration)
    short = needed - length.end
    if missing:
        there = _seconds_of_video(path, frame)
        wanted = math.inf if duration is None else start + duration
        much = missing > _MUCH * (path.stat().st_size + missing)
        if (much or short > 1.5 * frame) and wanted > there + 1.5 * frame:
            raise _cut_off(path, missing, length, there - start)
    if short > max(0.25, 2.5 * frame) and (
        length.unread > max(_INDEX, _MUCH_UNREAD * path.stat().st_size)
    ):
        raise _cut_off(path, 0, length, _seconds_of_video(path, frame) - start)
    if missing:
        return [f"{missing} bytes are missing at the end of the input."]
    if not length.marked:
        return [
            f"The input has no end mark after {length.packets} frames: its last "
            "frames may be cut off."
        ]
    # Where the structure is complete, less is the difference between two streams.
    if short > (1.5 * frame if missing is None else max(0.25, 2.5 * frame)):
        return [
            f"The input declares {length.declared:.3f} s and ends after "
            f"{length.end:.3f} s: its header is wrong, or frames are missing."
        ]
    return []


def _cut_off(path: Path, missing: int, length: Length, there: float) -> InputError:
    advice = "Fetch it again."
    if there > 0:
        advice = (
            "Fetch it again, or take the part that is there with "
            f"--duration {math.ceil(there * 100) / 100:.2f}."
        )
    what = f"{missing} bytes are missing"
    if not missing:
        what = f"{length.declared:.2f} s are declared, the rest does not read"
    return InputError(
        f"{path} is damaged or cut off after {length.packets} frames "
        f"({length.end:.2f} s): {what}.",
        advice,
    )


def _seconds_of_video(path: Path, frame: float) -> float:
    """From the first frame to the end of the last, by the packets that are there."""
    first, last = math.inf, -math.inf
    with open_input(path) as container:
        stream = main_video(container, str(path))
        try:
            for packet in container.demux(stream):
                at = packet.pts if packet.pts is not None else packet.dts
                if at is None or not packet.size or packet.is_discard:
                    continue
                seconds = float(at * packet.time_base)
                length = float((packet.duration or 0) * packet.time_base)
                first = min(first, seconds)
                last = max(last, seconds + (length or frame))
        except av.error.FFmpegError:
            pass  # the end of what is there
    return max(0.0, last - first)
