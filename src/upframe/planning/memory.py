"""Memory: tile and queue sizes that keep a run within a budget.

The estimates are meant to be somewhat high. Constants were measured with PyAV 18 and
x264 on two threads; what a network needs is on its model card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from upframe.errors import UsageError

BASE_BYTES = 160 * 2**20
"""The interpreter with its libraries, before the first frame."""
ENCODER_BYTES_PER_PIXEL = 200
"""x264's frames in flight, per output pixel, at preset medium; veryfast takes 80."""
_FLOAT_PIXEL = 3 * 4
_MIN_TILE = 64
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class ModelNumbers(Protocol):
    """What planning must know of a model; a ``ModelCard`` has it all."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def scale(self) -> int:
        """Output size over input size, per axis."""

    @property
    def multiple(self) -> int:
        """Input sides are padded to a multiple of this."""

    @property
    def min_size(self) -> int:
        """Smallest input side."""

    @property
    def overlap(self) -> int:
        """Input pixels that neighbouring tiles share."""

    @property
    def context(self) -> int:
        """Frames wanted on each side of a chunk."""

    @property
    def tiling(self) -> str:
        """``none`` where a frame cannot be cut."""

    @property
    def base_bytes(self) -> int:
        """What its libraries take beyond those of the engine."""

    @property
    def bytes_per_pixel(self) -> int:
        """Peak working memory per input pixel."""

    @property
    def gflops_per_megapixel(self) -> float:
        """Cost of one frame per million input pixels."""


@dataclass(frozen=True)
class TileChoice:
    """A tile size and what it takes."""

    width: int
    """Input pixels; the frame's width if no cut is needed across it."""
    height: int
    """Input pixels; the frame's height if no cut is needed across it."""
    bytes: int
    """Estimated memory of the network and of the frames it reads and writes."""
    warning: str = ""
    """Set where even the smallest sensible tile does not fit."""


def parse_size(size: str | int) -> int:
    """Bytes from ``2GiB``, ``800MB``, ``1.5g``, ``1000000`` or a number.

    ``KiB MiB GiB TiB`` are powers of 1024, ``KB MB GB TB`` and single letters powers of
    1000; upper and lower case are the same.

    Raises:
        UsageError: the text is of another form, or the size is not above 0.
    """
    if isinstance(size, int):
        if size < 1:
            raise UsageError(f"{size} bytes are no memory size.", "Give more than 0.")
        return size
    match = re.fullmatch(
        r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(ib|b)?\s*", size.lower(), re.ASCII
    )
    if match is None or (match[3] == "ib" and not match[2]):
        raise UsageError(
            f"'{size}' is no memory size.",
            "Write a number with a unit, as in 2GiB or 800MB.",
        )
    unit = _UNITS[match[2]]
    if match[3] == "ib":
        unit = 1024 ** list(_UNITS).index(match[2])
    value = int(float(match[1]) * unit)
    if value < 1:
        raise UsageError(f"'{size}' is no memory at all.", "Give more than 0.")
    return value


def choose_tile(
    width: int, height: int, model: ModelNumbers, budget_bytes: int
) -> TileChoice:
    """The tile size with the least repeated work that fits into the budget.

    The whole frame if it fits; else, of all ways to cut it, the one whose tiles have
    the smallest area in sum. No side is cut below 64 pixels, twice the overlap, or what
    the network takes at least.

    Args:
        width: input width in pixels.
        height: input height in pixels.
        model: the card of the model.
        budget_bytes: memory for the network and its frames.

    Raises:
        UsageError: the whole frame does not fit, and the model cannot cut it.
    """
    if model.tiling == "none":
        return _whole(width, height, model, budget_bytes)
    best: TileChoice | None = None
    best_work = 0
    smallest: TileChoice | None = None
    for tile_height, rows in _sides(height, model):
        for tile_width, columns in _sides(width, model):
            count = rows * columns
            need = tile_bytes(width, height, tile_width, tile_height, model)
            choice = TileChoice(tile_width, tile_height, need)
            if smallest is None or need < smallest.bytes:
                smallest = choice
            work = count * tile_width * tile_height
            if need <= budget_bytes and (best is None or work < best_work):
                best, best_work = choice, work
    if best is not None:
        return best
    assert smallest is not None  # the whole frame was tried at least
    warning = (
        f"{model.name} needs about {mebibytes(smallest.bytes)} for one tile of "
        f"{smallest.width}x{smallest.height}, more than the "
        f"{mebibytes(budget_bytes)} that are left for it; give more with --memory."
    )
    return TileChoice(smallest.width, smallest.height, smallest.bytes, warning)


def _whole(
    width: int, height: int, model: ModelNumbers, budget_bytes: int
) -> TileChoice:
    need = tile_bytes(width, height, width, height, model)
    if need > budget_bytes:
        raise UsageError(
            f"{model.name} needs about {mebibytes(need)} for a frame of "
            f"{width}x{height}, which it cannot cut into tiles, and "
            f"{mebibytes(budget_bytes)} are left for it.",
            "Give more with --memory, or use a smaller input or another model.",
        )
    return TileChoice(width, height, need)


def choose_queue(frame_bytes_in: int, frame_bytes_out: int, budget_bytes: int) -> int:
    """How many frames may wait on each side of the network, 1 to 16.

    Args:
        frame_bytes_in: size of a decoded frame.
        frame_bytes_out: size of a frame for the encoder.
        budget_bytes: memory for all that wait.
    """
    return max(1, min(16, budget_bytes // max(1, frame_bytes_in + frame_bytes_out)))


def mebibytes(size: int) -> str:
    """A size for people, ``512 MiB``."""
    return f"{max(size, 0) / 2**20:.0f} MiB"


def _sides(size: int, model: ModelNumbers) -> list[tuple[int, int]]:
    """Ways to cut an axis: (tile length, number of tiles), longest tile first."""
    multiple, overlap = model.multiple, model.overlap
    least = max(_MIN_TILE, model.min_size, 2 * overlap, overlap + multiple)
    shared = _ceil_to(overlap, multiple)
    sides = [(size, 1)]
    for count in range(2, size // max(1, least - shared) + 2):
        tile = _ceil_to(-(-(size + (count - 1) * shared) // count), multiple)
        if tile < least:
            break
        if tile < sides[-1][0]:
            sides.append((tile, count))
    return sides


def tile_bytes(
    width: int, height: int, tile_width: int, tile_height: int, model: ModelNumbers
) -> int:
    """Estimated memory of the network and of the frames it reads and writes.

    Args:
        width: of the frame in input pixels.
        height: of the frame.
        tile_width: of a tile; the frame's where it is not cut.
        tile_height: of a tile.
        model: the card of the model.
    """
    tiled = (tile_width, tile_height) != (width, height)
    padded_width = _ceil_to(max(tile_width, model.min_size), model.multiple)
    padded_height = _ceil_to(max(tile_height, model.min_size), model.multiple)
    network = model.bytes_per_pixel * padded_width * padded_height
    frames = _FLOAT_PIXEL * width * height * (1 + model.scale**2)
    # blending weighs a copy of the tile
    copy = _FLOAT_PIXEL * tile_width * tile_height * model.scale**2 if tiled else 0
    return network + frames + copy


def _ceil_to(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
