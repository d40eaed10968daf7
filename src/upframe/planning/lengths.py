"""How long chunks are: as long as 20 seconds of work, in whole segments of the model.

The length depends on the model's card, the frame size and the number of threads alone,
never on a measurement: chunks decide the output of temporal models at their borders, so
the same command must form the same chunks on every run.
"""

from __future__ import annotations

from typing import Protocol

from upframe.planning.estimate import GFLOPS_PER_CORE, network_seconds

DEFAULT_CHUNK_LENGTH = 240
CLIP_FRAMES = 20
"""Frames, without their context, that a model of whole chunks holds at once."""
_SECONDS_PER_CHUNK = 20
_LIMITS = (24, 480)


class ChunkedModel(Protocol):
    """What decides the length of chunks; a ``ModelCard`` has it all."""

    @property
    def context(self) -> int:
        """Frames wanted on each side of a chunk."""

    @property
    def lookahead(self) -> int | None:
        """How many of those after it the model needs; None for all."""

    @property
    def segment(self) -> int:
        """Frames that are computed together."""

    @property
    def gflops_per_megapixel(self) -> float:
        """Cost of one frame per million input pixels."""


def chunk_length(model: ChunkedModel, area: int, other: float, threads: int) -> int:
    """Frames in a chunk where the user names no number.

    Args:
        model: the card of the model.
        area: input pixels that the network sees of a frame.
        other: CPU seconds per frame beside the network.
        threads: CPU threads that share the work.
    """
    network = network_seconds(
        area, model.gflops_per_megapixel, GFLOPS_PER_CORE * threads
    )
    network *= 1 + 2 * model.context / DEFAULT_CHUNK_LENGTH
    seconds = network + other / threads
    low, high = _LIMITS
    wanted = max(low, min(high, round(_SECONDS_PER_CHUNK / max(seconds, 1e-6))))
    return longest_chunk(model, wanted)


def longest_chunk(model: ChunkedModel, wanted: int) -> int:
    """Frames in a chunk of a model.

    Args:
        model: the card of the model.
        wanted: what suits the rest of the run.

    Returns:
        Few for models that hold all frames of a chunk at once; else so many that
        context costs little.
    """
    if model.context and model.lookahead is None:
        return CLIP_FRAMES
    return whole_segments(model, max(wanted, 6 * model.context))


def whole_segments(model: ChunkedModel, frames: int) -> int:
    """The next number of frames that a model's segments fill."""
    return -(-frames // model.segment) * model.segment
