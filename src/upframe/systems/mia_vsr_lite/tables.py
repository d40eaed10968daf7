"""Tables of pixels that a step remembers, read and written by blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from upframe.systems.mia_vsr_lite.blocks import Blocks


class Tables:
    """What is remembered of one kind, in the order in which a step comes to it."""

    def __init__(self, before: Sequence[Tensor], overwrite: bool) -> None:
        self._before, self._overwrite = before, overwrite
        self.after: list[Tensor] = []

    @property
    def next(self) -> Tensor:
        """(P, C): what the next :meth:`put` goes into."""
        return self._before[len(self.after)]

    def put(self, area: Blocks, values: Tensor) -> Tensor:
        """(P, C) with (K * N, C) in the rows of blocks: a copy, or the table itself."""
        if self._overwrite:
            table = self.next.index_put_((area.own.reshape(-1),), values)
        else:
            table = put_rows(self.next, area, values)
        self.after.append(table)
        return table


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """(P, C) and (K, N) to (K * N, C)."""
    return table.index_select(0, rows.reshape(-1))


def put_rows(table: Tensor, area: Blocks, values: Tensor) -> Tensor:
    """A copy of (P, C) with (K * N, C) in the rows of blocks."""
    return table.index_put((area.own.reshape(-1),), values)
