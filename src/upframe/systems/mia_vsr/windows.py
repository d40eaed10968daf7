"""Cutting maps into windows for attention, plain or shifted by half a window.

Shifted windows are those of Swin (Liu et al., ICCV 2021): the map is rolled by half a
window, so that windows at the right and bottom edges hold tokens from opposite edges;
those must not see each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HIDDEN = -100.0
"""Added to the logits between tokens of opposite edges, as in Swin."""


class Windows:
    """How a map of one size is cut.

    Args:
        h: height of the map in tokens.
        w: width of the map in tokens.
        side: side of a window; what hangs over the right and bottom edges is zero.
        shifted: cut half a window further right and down, and wrap around.
        device: where :attr:`rows` and the masks lie.

    Attributes:
        rows: (W, side²) for each window and place the token's index in the flattened
            map, or ``h * w`` for a place outside the map.
        labels: (W, side²) tokens of one window that may see each other have the same
            number; None where all may.
        edges: (W,) whether a window holds tokens that may not see each other; None
            where none does.
    """

    def __init__(
        self,
        h: int,
        w: int,
        side: int,
        *,
        shifted: bool,
        device: torch.device | None = None,
    ) -> None:
        self.h, self.w, self.side = h, w, side
        self.padded = (h + -h % side, w + -w % side)
        self.count = self.padded[0] * self.padded[1] // side**2
        self.shift = side // 2 if shifted else 0
        numbers = torch.arange(h * w, device=device).view(1, 1, h, w, 1)
        # one higher while zeros are filled in for the outside
        rows = self.cut(numbers + 1)[..., 0] - 1
        self.rows = torch.where(rows < 0, h * w, rows)
        self.labels: Tensor | None = None
        if shifted:
            down = torch.arange(self.padded[0], device=device) < self.shift
            across = torch.arange(self.padded[1], device=device) < self.shift
            wrapped = 2 * down.long()[:, None] + across.long()
            self.labels = self._split(self._roll(wrapped[None, None, :, :, None]))[
                ..., 0
            ]
        self.edges = (
            None
            if self.labels is None
            else (self.labels != self.labels[:, :1]).any(dim=1)
        )

    def cut(self, x: Tensor) -> Tensor:
        """Windows of a map, or of several maps of the same size at once.

        Args:
            x: (B, T, h, w, C).

        Returns:
            (B * W, T * side², C): windows in reading order, tokens by frame, row and
            column.
        """
        bottom, right = self.padded[0] - self.h, self.padded[1] - self.w
        if bottom or right:
            x = F.pad(x, (0, 0, 0, right, 0, bottom))
        return self._split(self._roll(x))

    def join(self, x: Tensor) -> Tensor:
        """The opposite of :meth:`cut` for one frame.

        Args:
            x: (B * W, side², C).

        Returns:
            (B, h, w, C).
        """
        down, across = (n // self.side for n in self.padded)
        x = x.reshape(-1, down, across, self.side, self.side, x.shape[-1])
        x = x.transpose(2, 3).reshape(-1, *self.padded, x.shape[-1])
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, : self.h, : self.w]

    def mask(self, frames: int, dtype: torch.dtype) -> Tensor | None:
        """What is added to the logits of each window's last frame.

        Args:
            frames: frames of the keys; all are cut alike.
            dtype: type of the logits.

        Returns:
            (W, side², frames * side²): 0, or -100 where query and key come from
            opposite edges of the map; None if all is 0.
        """
        if self.labels is None:
            return None
        apart = self.labels[:, :, None] != self.labels[:, None, :]
        return (apart.to(dtype) * HIDDEN).repeat(1, 1, frames)

    def _roll(self, x: Tensor) -> Tensor:
        if not self.shift:
            return x
        return x.roll((-self.shift, -self.shift), dims=(2, 3))

    def _split(self, x: Tensor) -> Tensor:
        b, t, h, w, c = x.shape
        s = self.side
        x = x.reshape(b, t, h // s, s, w // s, s, c).permute(0, 2, 4, 1, 3, 5, 6)
        return x.reshape(-1, t * s * s, c)
