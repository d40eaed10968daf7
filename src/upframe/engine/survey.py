"""What a dry run reports beyond the plan: scenes and chunks, by decoding once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from upframe.engine.prepare import Job
from upframe.planning.chunks import Chunk, chunks_of
from upframe.planning.plan import duration
from upframe.planning.scenes import ContentDetector


@dataclass(frozen=True)
class Survey:
    """Scenes and chunks of an input."""

    frames: int
    cuts: tuple[int, ...]
    """Frames that start a new scene."""
    chunks: tuple[tuple[int, int], ...]
    """First frame and one past the last of each chunk."""
    seconds: float
    """Estimated time of the run."""
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {
            "frames": self.frames,
            "cuts": list(self.cuts),
            "chunk_ranges": [list(chunk) for chunk in self.chunks],
            "seconds": round(self.seconds, 1),
            "input_warnings": list(self.warnings),
        }

    def describe(self) -> str:
        """A few lines for people."""
        lines = [
            f"scenes   {len(self.cuts) + 1}, {len(self.chunks)} chunks, "
            f"{self.frames} frames, about {duration(self.seconds)} in all"
        ]
        lines += [f"warning  {text}" for text in self.warnings]
        return "\n".join(lines)


def survey(job: Job) -> Survey:
    """Decode the input of a job once, find its scenes, and close it.

    Raises:
        InputError: it cannot be decoded.
    """
    detector = ContentDetector()
    cuts, frames = [], 0
    try:
        for frame in job.source:
            if detector.push(frame.pixels[..., :3]):
                cuts.append(frames)
            frames += 1
    finally:
        job.close()
    chunks = chunks_of(cuts, frames, job.plan.chunk_length, job.plan.context)
    return Survey(
        frames=frames,
        cuts=tuple(cuts),
        chunks=tuple((chunk.start, chunk.stop) for chunk in chunks),
        seconds=_seconds(job, chunks, frames),
        warnings=(*job.source.warnings, *job.format.warnings),
    )


def _seconds(job: Job, chunks: list[Chunk], frames: int) -> float:
    """Estimated time of the run, from the frames that are really fed."""
    if not frames:
        return 0.0
    lookahead = job.model.card.lookahead
    fed = sum(
        min(c.context_stop, c.context_stop if lookahead is None else c.stop + lookahead)
        - c.context_start
        for c in chunks
    )
    return frames * job.plan.cost.seconds_per_frame(fed / frames)
