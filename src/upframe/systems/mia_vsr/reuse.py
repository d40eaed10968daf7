"""Computing a layer again only where its input changed. Inference only.

Neighbouring frames of slides, screens and letterboxed films are the same to the last
bit over large areas. A layer that sees a few pixels around each place gives the same
numbers there again, so they are copied. What is compared are bits, not a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_TILE = 16
"""Side of the squares in which change is looked for, in places of the input."""
_WORTH = 0.6
"""Parts are computed alone up to this share of the whole, their margins counted."""


class Made(NamedTuple):
    """What a function made, and of what."""

    given: tuple[Tensor, ...]
    """Maps of (B, C, h, w); the channels may differ."""
    result: Tensor
    """(B, C, scale * h, scale * w)."""


class Box(NamedTuple):
    """A rectangle of a map; ends are excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, by: int, h: int, w: int) -> Box:
        """With a margin, inside a map of a size."""
        return Box(
            max(0, self.top - by),
            min(h, self.bottom + by),
            max(0, self.left - by),
            min(w, self.right + by),
        )

    def area(self) -> int:
        """In places."""
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, x: Tensor, scale: int = 1) -> Tensor:
        """The part of (..., scale * h, scale * w)."""
        rows = slice(scale * self.top, scale * self.bottom)
        return x[..., rows, scale * self.left : scale * self.right]


def recompute(
    function: Callable[..., Tensor],
    given: tuple[Tensor, ...],
    before: Made | None,
    *,
    reach: int,
    scale: int = 1,
) -> Made:
    """Apply a function of maps where they differ from those of the last time.

    Args:
        function: what it gives at a place depends on nothing further than ``reach``
            from there; at the edges it sees its own padding.
        given: maps of (B, C, h, w).
        before: what this returned for maps of the same size; None computes everything.
        reach: in places of the maps.
        scale: how many times larger the function's results are than the maps.

    Returns:
        The result, equal to ``function(*given)`` up to rounding where something changed
        and to the last result's bits elsewhere. ``before`` itself if nothing changed.
    """
    if before is None:
        return Made(given, function(*given))
    changed = torch.stack(
        [
            (now != then).any(dim=1).any(dim=0)
            for now, then in zip(given, before.given, strict=True)
        ]
    ).any(dim=0)
    if not changed.any():
        return before
    h, w = changed.shape
    touched = F.max_pool2d(changed[None, None].float(), 2 * reach + 1, 1, reach)
    boxes = cover(touched[0, 0] > 0)
    if sum(box.grown(reach, h, w).area() for box in boxes) > _WORTH * h * w:
        return Made(given, function(*given))
    fine = F.interpolate(touched, scale_factor=float(scale)) > 0
    result = before.result.clone()
    for box in boxes:
        wide = box.grown(reach, h, w)
        part = function(*(wide.of(x) for x in given))
        inner = Box(
            box.top - wide.top,
            box.bottom - wide.top,
            box.left - wide.left,
            box.right - wide.left,
        )
        place = box.of(result, scale)
        place.copy_(torch.where(box.of(fine, scale), inner.of(part, scale), place))
    return Made(given, result)


def cover(places: Tensor) -> list[Box]:
    """Rectangles of whole tiles that hold all places, apart from each other.

    Args:
        places: (h, w) bool.
    """
    h, w = places.shape
    tiles = F.max_pool2d(places[None].float(), _TILE, ceil_mode=True)[0] > 0
    boxes: list[Box] = []
    above: dict[tuple[int, int], int] = {}
    for row, line in enumerate(tiles.tolist()):
        top, bottom = row * _TILE, min(h, (row + 1) * _TILE)
        runs: dict[tuple[int, int], int] = {}
        for left, right in _runs(line):
            span = (left * _TILE, min(w, right * _TILE))
            number = above.get(span)
            if number is None:
                number = len(boxes)
                boxes.append(Box(top, bottom, *span))
            else:
                boxes[number] = boxes[number]._replace(bottom=bottom)
            runs[span] = number
        above = runs
    return boxes


def _runs(line: list[bool]) -> list[tuple[int, int]]:
    """Begin and end of each run of true values."""
    edges = [
        i
        for i, (before, here) in enumerate(
            zip([False, *line], [*line, False], strict=True)
        )
        if before != here
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))
