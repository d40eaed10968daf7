"""The end of a run: join the chunks, verify the output, report what was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from upframe._version import __version__
from upframe.engine.prepare import Job
from upframe.engine.store import ChunkRecord, Store
from upframe.errors import ResumeError
from upframe.media.encoder import output_error, to_disk
from upframe.media.frames import SourceInfo
from upframe.media.images import collect, move_single
from upframe.media.mux import Window, join
from upframe.media.packets import Segment
from upframe.media.verify import verify


@dataclass(frozen=True)
class Report:
    """What a finished run did."""

    output: str
    frames_in: int
    frames_out: int
    width: int
    height: int
    seconds: float
    """Wall-clock time of this run."""
    fps: float
    """Frames written in this run, per second."""
    model: str
    runtime: str
    device: str
    precision: str
    """``fp32``, ``fp16``, ``bf16`` or ``int8``."""
    peak_rss_mb: float
    """Peak memory of the process, in MB (10**6 bytes)."""
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return asdict(self)


def finish(job: Job, store: Store) -> list[str]:
    """Make the output of a job appear; all chunks must be in the store.

    Returns:
        Warnings: what the output does not keep of the input.

    Raises:
        ResumeError: chunks are missing, or do not fit together.
        OutputError: the output cannot be written, or is not what it should be.
    """
    chunks = _chunks(store)
    if job.output.kind == "video":
        return _finish_video(job, store, chunks)
    _finish_images(job, store, chunks)
    return lost_properties(job)


def lost_properties(job: Job) -> list[str]:
    """What images and pipes cannot hold of the source, a sentence each."""
    info: SourceInfo = job.source.info
    lost = []
    if info.companions:
        kinds = ", ".join(sorted(set(info.companions)))
        lost.append(f"Only the frames are written; left out: {kinds}.")
    if info.display_matrix is not None:
        lost.append(
            "The input is shown rotated or mirrored by a tag that the output cannot "
            "hold: its frames are as they were coded."
        )
    if job.output.kind == "images" and info.sar != 1:
        lost.append(
            "The input's pixel aspect ratio is "
            f"{info.sar.numerator}:{info.sar.denominator}; images cannot hold it and "
            "look squeezed or stretched."
        )
    return lost


def _chunks(store: Store) -> list[ChunkRecord]:
    done = [store.done[k] for k in sorted(store.done)]
    at = 0
    for number, chunk in enumerate(done):
        if chunk.chunk != number or chunk.start != at:
            raise ResumeError(
                f"The unfinished run in {store.folder} does not fit the input any "
                "more.",
                "Run again with --fresh.",
            )
        at = chunk.stop
    return done


def _finish_video(job: Job, store: Store, chunks: list[ChunkRecord]) -> list[str]:
    """Join the segments beside the source's other streams, verify, rename."""
    output, info = job.output.path, job.source.info
    assert output is not None
    pts = [value for chunk in chunks for value in chunk.pts]
    last = chunks[-1].last_duration or _step(pts)
    base = info.time_base
    whole = store.folder / ("joined" + output.suffix)
    result = join(
        [Segment(store.folder / c.file, c.pts) for c in chunks],
        whole,
        job.format,
        time_base=base,
        last_duration=last,
        display_matrix=info.display_matrix,
        source=job.path if job.path and job.path.is_file() else None,
        window=_window(job, pts[0], pts[-1] + last),
        audio=job.options.audio,
        provenance=f"upscaled by upframe {__version__} with {job.model.card.name} "
        f"from {info.width}x{info.height}",
    )
    times = [value * base + result.shift for value in pts]
    size = (job.format.width, job.format.height)
    warnings = result.warnings + verify(whole, times, result, size)
    try:
        to_disk(whole)
        whole.replace(output)
    except OSError as exc:
        raise output_error(exc, output) from exc
    return warnings


def _step(pts: list[int]) -> int:
    return pts[-1] - pts[-2] if len(pts) > 1 else 1


def _window(job: Job, first: int, stop: int) -> Window | None:
    """The part of the source's other streams that is kept; None for all."""
    if job.options.start is None and job.options.duration is None:
        return None
    base = job.source.info.time_base
    whole = job.options.duration is None
    return Window(first * base, None if whole else stop * base)


def _finish_images(job: Job, store: Store, chunks: list[ChunkRecord]) -> None:
    """Bring the images together under the final name."""
    output = job.output
    assert output.path is not None
    folders = [store.folder / chunk.file for chunk in chunks]
    if output.path.suffix.lower() == output.suffix and not output.pattern:
        move_single(folders[0], output.path)
    else:
        collect(folders, output.path, store.folder)
