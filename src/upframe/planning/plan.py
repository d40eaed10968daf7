"""The plan: everything that is decided before the first frame is upscaled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from upframe.planning.memory import (
    BASE_BYTES,
    ENCODER_BYTES_PER_PIXEL,
    ModelNumbers,
    choose_queue,
    choose_tile,
    mebibytes,
)
from upframe.planning.sizes import TargetSize
from upframe.planning.tiles import TileGrid, plan_tiles

DEFAULT_CHUNK_LENGTH = 240
GFLOPS_PER_CORE = 45.0
"""What a network reaches on one CPU core where nothing was measured: half of GEMM."""
_DECODE_SECONDS = 0.008
"""CPU time per million input pixels: decode and convert to RGB."""
_ENCODE_SECONDS = 0.05
"""CPU time per million output pixels: convert from RGB and encode, x264 medium."""
_RESIZE_SECONDS = 0.04
"""CPU time per million pixels of the larger picture: the last resize, if any."""


@dataclass(frozen=True)
class Source:
    """What the plan must know of the input."""

    width: int
    """Stored width in pixels."""
    height: int
    """Stored height in pixels."""
    frames: int | None
    """Number of frames, an estimate; None if unknown."""
    deep: bool = False
    """Whether frames are uint16 instead of uint8."""
    sar: Fraction = Fraction(1)
    """Sample aspect ratio."""


@dataclass(frozen=True)
class Plan:
    """All decisions of a run; ``make_plan`` makes it, the engine carries it out."""

    source: Source
    model: str
    """Name of the model."""
    scale: int
    """Factor of the network; ``width`` and ``height`` may ask for another size."""
    width: int
    """Output width in pixels."""
    height: int
    """Output height in pixels."""
    sar: Fraction
    """Sample aspect ratio of the output."""
    tiles: TileGrid
    chunk_length: int
    """Largest number of core frames in a chunk."""
    context: int
    """Frames fed on both sides of a chunk."""
    queue_length: int
    """Frames that may wait on each side of the network."""
    memory_bytes: int
    """Estimated peak of the process."""
    seconds_per_frame: float
    """Estimated time per frame, all stages together."""
    precision: str = "fp32"
    """What the network computes in."""
    warnings: tuple[str, ...] = ()

    @property
    def resized(self) -> bool:
        """Whether the network's output is resized to reach the wished size."""
        return (self.width, self.height) != (
            self.source.width * self.scale,
            self.source.height * self.scale,
        )

    @property
    def seconds(self) -> float | None:
        """Estimated time of the whole run; None if the length is unknown."""
        if self.source.frames is None:
            return None
        return self.source.frames * self.seconds_per_frame

    def to_dict(self) -> dict[str, Any]:
        """The plan in values that JSON knows; ratios as ``16:15``."""
        values = asdict(self)
        values["source"]["sar"] = _ratio(self.source.sar)
        values["sar"] = _ratio(self.sar)
        values["tiles"] = {
            "width": self.tiles.tile_width,
            "height": self.tiles.tile_height,
            "overlap": self.tiles.overlap,
            "columns": len(self.tiles.xs),
            "rows": len(self.tiles.ys),
        }
        values["resized"] = self.resized
        values["seconds"] = self.seconds
        values["warnings"] = list(self.warnings)
        return values

    def describe(self) -> str:
        """A few lines for people, without a newline at the end."""
        source, tiles = self.source, self.tiles
        frames = "unknown number of" if source.frames is None else str(source.frames)
        depth = "16-bit" if source.deep else "8-bit"
        resized = ", resized from the network's size" if self.resized else ""
        if tiles.single:
            cut = "whole picture"
        else:
            cut = (
                f"{len(tiles.xs)} x {len(tiles.ys)} tiles of {tiles.tile_width}x"
                f"{tiles.tile_height}, {tiles.overlap} pixels shared"
            )
        context = f", {self.context} frames of context" if self.context else ""
        per_frame = f"{1000 * self.seconds_per_frame:.0f} ms per frame"
        time = per_frame
        if self.seconds is not None:
            time = f"{_duration(self.seconds)}, {per_frame}"
        lines = [
            f"input    {source.width}x{source.height}, {frames} frames, {depth}",
            f"output   {self.width}x{self.height}{resized}",
            f"model    {self.model}, x{self.scale}, {self.precision}",
            f"picture  {cut}",
            f"chunks   at most {self.chunk_length} frames{context}",
            f"memory   about {mebibytes(self.memory_bytes)}",
            f"time     about {time}",
        ]
        lines += [f"warning  {warning}" for warning in self.warnings]
        return "\n".join(lines)


def make_plan(
    source: Source,
    model: ModelNumbers,
    target: TargetSize,
    *,
    budget_bytes: int,
    cores: int = 1,
    gflops: float | None = None,
    chunk_length: int = DEFAULT_CHUNK_LENGTH,
) -> Plan:
    """Decide how a video is upscaled.

    Args:
        source: facts of the input.
        model: the card of the model.
        target: output size, from ``resolve_size``.
        budget_bytes: memory that the whole process may take.
        cores: CPU cores that share the work.
        gflops: measured speed of the network in GFLOP/s; else guessed from ``cores``.
        chunk_length: largest number of core frames in a chunk.

    Returns:
        The plan; where something does not fit, ``warnings`` says what and what to do.
    """
    sample = 2 if source.deep else 1
    frame_in = 3 * sample * source.width * source.height
    frame_out = 3 * sample * target.width * target.height
    native = (source.width * model.scale, source.height * model.scale)
    resized = (target.width, target.height) != native
    largest = max(native[0] * native[1], target.width * target.height)

    fixed = BASE_BYTES + model.base_bytes
    fixed += ENCODER_BYTES_PER_PIXEL * target.width * target.height
    fixed += 2 * model.context * frame_in
    if resized:
        # the last resize holds its result and one picture between its two passes
        fixed += 2 * 12 * largest
    waiting = 2 * (frame_in + frame_out)
    choice = choose_tile(
        source.width, source.height, model, budget_bytes - fixed - waiting
    )
    tiles = plan_tiles(
        source.width,
        source.height,
        choice.width,
        choice.height,
        model.overlap,
        model.multiple,
    )
    queue = choose_queue(frame_in, frame_out, budget_bytes - fixed - choice.bytes)
    memory = fixed + choice.bytes + queue * (frame_in + frame_out)

    speed = gflops if gflops is not None else GFLOPS_PER_CORE * cores
    chunk_share = 1 + 2 * model.context / chunk_length
    network = tiles.area / 1e6 * model.gflops_per_megapixel / speed * chunk_share
    other = _DECODE_SECONDS * source.width * source.height / 1e6
    other += _ENCODE_SECONDS * target.width * target.height / 1e6
    if resized or model.gflops_per_megapixel == 0:
        other += _RESIZE_SECONDS * largest / 1e6

    return Plan(
        source=source,
        model=model.name,
        scale=model.scale,
        width=target.width,
        height=target.height,
        sar=target.sar,
        tiles=tiles,
        chunk_length=chunk_length,
        context=model.context,
        queue_length=queue,
        memory_bytes=memory,
        seconds_per_frame=network + other / cores,
        warnings=_warnings(choice.warning, target, native, memory, budget_bytes),
    )


def _warnings(
    tile_warning: str,
    target: TargetSize,
    native: tuple[int, int],
    memory: int,
    budget: int,
) -> tuple[str, ...]:
    warnings = []
    if memory > budget:
        warnings.append(
            f"the run takes about {mebibytes(memory)}, more than the "
            f"{mebibytes(budget)} it may; use a smaller output or a faster encoder "
            "preset, or give more with --memory."
        )
    if tile_warning:
        warnings.append(tile_warning)
    if target.width > native[0] or target.height > native[1]:
        warnings.append(
            f"{target.width}x{target.height} is larger than what the network makes, "
            f"{native[0]}x{native[1]}; the rest is interpolated."
        )
    return tuple(warnings)


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"


def _duration(seconds: float) -> str:
    whole = max(1, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {rest:02d} s"
    return f"{rest} s"
