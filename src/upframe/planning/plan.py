"""The plan: everything that is decided before the first frame is upscaled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Protocol

from upframe.planning.estimate import (
    GFLOPS_PER_CORE,
    Cost,
    network_seconds,
    other_seconds,
    passes_per_frame,
)
from upframe.planning.lengths import ChunkedModel, chunk_length, whole_segments
from upframe.planning.memory import (
    BASE_BYTES,
    ENCODER_BYTES_PER_PIXEL,
    ModelNumbers,
    TileChoice,
    choose_queue,
    choose_tile,
    mebibytes,
    tile_bytes,
)
from upframe.planning.sizes import TargetSize
from upframe.planning.tiles import TileGrid, plan_tiles


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


class PlannedModel(ModelNumbers, ChunkedModel, Protocol):
    """What planning must know of a model; a ``ModelCard`` has it all."""


@dataclass(frozen=True)
class Computer:
    """Where and how the network computes, and how fast."""

    runtime: str = "onnx"
    device: str = "cpu"
    precision: str = "fp32"
    """What the network computes in."""
    cores: int = 1
    """CPU cores of the machine."""
    threads: int = 1
    """CPU threads of the network."""
    seconds_per_megapixel: float | None = None
    """Measured wall-clock seconds of one pass per million input pixels; None where
    nothing was measured: then an estimate from ``threads``."""


@dataclass(frozen=True)
class Kept:
    """What a resumed run keeps of the one that it continues."""

    chunk_length: int
    tile_width: int
    tile_height: int


@dataclass(frozen=True)
class Plan:
    """All decisions of a run; ``make_plan`` makes it, the engine only reads it."""

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
    runtime: str
    device: str
    precision: str
    """What the network computes in."""
    threads: int
    """CPU threads of the network."""
    tiles: TileGrid
    chunk_length: int
    """Largest number of core frames in a chunk."""
    context: int
    """Frames fed on both sides of a chunk."""
    queue_length: int
    """Frames that may wait on each side of the network."""
    memory_bytes: int
    """Estimated peak of the process."""
    cost: Cost
    """What one frame costs."""
    seconds_per_frame: float
    """Estimated time per frame, all stages and context together."""
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
        values["measured"] = values.pop("cost")["measured"]
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
            cut = "whole frame"
        else:
            cut = (
                f"{len(tiles.xs)} x {len(tiles.ys)} tiles of {tiles.tile_width}x"
                f"{tiles.tile_height}, {tiles.overlap} pixels shared"
            )
        context = f", {self.context} frames of context" if self.context else ""
        per_frame = f"{1000 * self.seconds_per_frame:.0f} ms per frame"
        basis = "measured here" if self.cost.measured else "rough: nothing measured yet"
        time = f"{per_frame} ({basis})"
        if self.seconds is not None:
            time = f"{duration(self.seconds)}, {time}"
        lines = [
            f"input    {source.width}x{source.height}, {frames} frames, {depth}",
            f"output   {self.width}x{self.height}{resized}",
            f"model    {self.model}, x{self.scale}, {self.precision}",
            f"runs in  {self.runtime} on {self.device}, {self.threads} threads",
            f"frame    {cut}",
            f"chunks   at most {self.chunk_length} frames{context}",
            f"memory   about {mebibytes(self.memory_bytes)}",
            f"time     about {time}",
        ]
        lines += [f"warning  {warning}" for warning in self.warnings]
        return "\n".join(lines)


def make_plan(
    source: Source,
    model: PlannedModel,
    target: TargetSize,
    *,
    budget_bytes: int,
    computer: Computer | None = None,
    chunk_frames: int | None = None,
    kept: Kept | None = None,
) -> Plan:
    """Decide how a video is upscaled.

    Args:
        source: facts of the input.
        model: the card of the model.
        target: output size, from ``resolve_size``.
        budget_bytes: memory that the whole process may take.
        computer: where the network computes.
        chunk_frames: largest number of core frames in a chunk that the user named.
        kept: what a resumed run keeps.

    Returns:
        The plan; where something does not fit, ``warnings`` says what and what to do.
    """
    computer = computer or Computer()
    native = (source.width * model.scale, source.height * model.scale)
    resized = (target.width, target.height) != native
    largest = max(native[0] * native[1], target.width * target.height)
    tiles, queue, memory, tile_warning = _fit(
        source, model, target, largest if resized else 0, budget_bytes, kept
    )
    computed = resized or model.gflops_per_megapixel == 0
    other = other_seconds(
        source.width * source.height,
        target.width * target.height,
        largest if computed else None,
    )
    length = _length(model, tiles.area, other, computer.threads, chunk_frames, kept)
    cost = _cost(computer, model, tiles, other)
    passes = passes_per_frame(source.frames, length, model.context, model.lookahead)
    return Plan(
        source=source,
        model=model.name,
        scale=model.scale,
        width=target.width,
        height=target.height,
        sar=target.sar,
        runtime=computer.runtime,
        device=computer.device,
        precision=computer.precision,
        threads=computer.threads,
        tiles=tiles,
        chunk_length=length,
        context=model.context,
        queue_length=queue,
        memory_bytes=memory,
        cost=cost,
        seconds_per_frame=cost.seconds_per_frame(passes),
        warnings=_warnings(tile_warning, target, native, memory, budget_bytes),
    )


def _fit(
    source: Source,
    model: ModelNumbers,
    target: TargetSize,
    resized_pixels: int,
    budget_bytes: int,
    kept: Kept | None,
) -> tuple[TileGrid, int, int, str]:
    """Tiles, queue length, estimated memory and a warning."""
    sample = 2 if source.deep else 1
    frame_in = 3 * sample * source.width * source.height
    frame_out = 3 * sample * target.width * target.height
    fixed = BASE_BYTES + model.base_bytes
    fixed += ENCODER_BYTES_PER_PIXEL * target.width * target.height
    fixed += 2 * model.context * frame_in
    # the last resize holds its result and one image between its two passes
    fixed += 2 * 12 * resized_pixels
    waiting = 2 * (frame_in + frame_out)
    size = (source.width, source.height)
    choice = choose_tile(*size, model, budget_bytes - fixed - waiting)
    if kept is not None:
        need = tile_bytes(*size, kept.tile_width, kept.tile_height, model)
        choice = TileChoice(kept.tile_width, kept.tile_height, need)
    tiles = plan_tiles(
        *size, choice.width, choice.height, model.overlap, model.multiple
    )
    queue = choose_queue(frame_in, frame_out, budget_bytes - fixed - choice.bytes)
    memory = fixed + choice.bytes + queue * (frame_in + frame_out)
    return tiles, queue, memory, choice.warning


def _length(
    model: PlannedModel,
    area: int,
    other: float,
    threads: int,
    chunk_frames: int | None,
    kept: Kept | None,
) -> int:
    """Core frames in a chunk: those of the run that is continued, those that the user
    named, or what suits the model."""
    if kept is not None:
        return kept.chunk_length
    if chunk_frames is not None:
        return whole_segments(model, chunk_frames)
    return chunk_length(model, area, other, threads)


def _cost(
    computer: Computer, model: PlannedModel, tiles: TileGrid, other: float
) -> Cost:
    measured = computer.seconds_per_megapixel
    if measured is not None:
        network = measured * tiles.area / 1e6
    else:
        speed = GFLOPS_PER_CORE * computer.threads
        network = network_seconds(tiles.area, model.gflops_per_megapixel, speed)
    return Cost(network, other, computer.cores, computer.threads, measured is not None)


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


def duration(seconds: float) -> str:
    """A length of time for people, ``1 min 05 s``."""
    whole = max(1, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {rest:02d} s"
    return f"{rest} s"
