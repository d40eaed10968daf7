"""How long a run takes: what each stage costs, and how the stages share the cores.

The decoder and the encoder work while the network runs. Their CPU time and that of the
network add up, and are spread over the cores; a network that leaves cores free is
waited for alone. Constants were measured on one x86 core at 3 GHz with PyAV 18 and
x264 (preset medium).
"""

from __future__ import annotations

from dataclasses import dataclass

GFLOPS_PER_CORE = 45.0
"""What a network reaches on one CPU core where nothing was measured: half of GEMM."""
_DECODE_SECONDS = 0.008
"""CPU time per million input pixels: decode and convert to RGB."""
_ENCODE_SECONDS = 0.05
"""CPU time per million output pixels: convert from RGB and encode, x264 medium."""
_RESIZE_SECONDS = 0.04
"""CPU time per million pixels of the larger image: the last resize, if any."""


@dataclass(frozen=True)
class Cost:
    """What one frame costs."""

    network: float
    """Wall-clock seconds of one pass of the network over all tiles of a frame."""
    other: float
    """CPU seconds of all else: decoding, conversion, resizing, encoding."""
    cores: int
    """CPU cores of the machine."""
    threads: int
    """CPU threads of the network."""
    measured: bool = False
    """Whether ``network`` comes from a measurement on this machine."""

    def seconds_per_frame(self, passes: float = 1.0) -> float:
        """Wall-clock seconds for each frame of the video.

        Args:
            passes: passes of the network for each frame, context included.
        """
        network = self.network * passes
        busy = network * min(self.threads, self.cores)
        return max(network, (busy + self.other) / self.cores)


def network_seconds(area: int, gflops_per_megapixel: float, speed: float) -> float:
    """Seconds of one pass where nothing was measured.

    Args:
        area: input pixels that the network sees of a frame, overlaps included.
        gflops_per_megapixel: from the model's card.
        speed: GFLOP/s of all threads together.
    """
    return area / 1e6 * gflops_per_megapixel / speed


def other_seconds(
    source_pixels: int, target_pixels: int, resized_pixels: int | None
) -> float:
    """CPU seconds per frame beside the network.

    Args:
        source_pixels: of an input frame.
        target_pixels: of an output frame.
        resized_pixels: of the larger side of the last resize; None without one.
    """
    seconds = _DECODE_SECONDS * source_pixels + _ENCODE_SECONDS * target_pixels
    return (seconds + _RESIZE_SECONDS * (resized_pixels or 0)) / 1e6


def passes_per_frame(
    frames: int | None, chunk_length: int, context: int, lookahead: int | None
) -> float:
    """Passes of the network for each frame, with the context of chunks.

    A video without cuts is assumed: cuts only take context away.

    Args:
        frames: of the video; None where unknown.
        chunk_length: largest number of core frames in a chunk.
        context: frames that a chunk wants on each side.
        lookahead: how many of those after it the model needs; None for all.
    """
    after = context if lookahead is None else min(lookahead, context)
    extra = context + after  # of every boundary between two chunks
    if frames is None:
        return 1 + extra / chunk_length
    if frames == 0:
        return 1.0
    boundaries = -(-frames // chunk_length) - 1
    return 1 + boundaries * extra / frames
