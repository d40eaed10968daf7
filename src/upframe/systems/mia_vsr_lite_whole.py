"""MIA-VSR lite, frame by frame outside training: the step that computes everything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite import MIAVSRLite
from upframe.systems.mia_vsr_lite_layers import (
    DETAIL,
    LOOKS,
    as_map,
    as_table,
    attended,
    enlarging,
    from_windows,
    fusing,
    motion_rows,
    picture,
    to_windows,
    with_zero,
)


class WholeStep(nn.Module):
    """One frame of one clip, all of it, remembering nothing but the hidden state.

    What ``MIAVSRLite.step`` computes without masks, arranged for speed outside torch.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: MIAVSRLite) -> None:
        super().__init__()
        self.network = network
        self.fuse, self.fuse_hidden = fusing(network)
        self.last, self.base = enlarging(network.conv_last), enlarging(network.base)

    def forward(
        self, frames: Tensor, first: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Enlarge a frame.

        Args:
            frames: (3, h, w, 3) previous, current and next frame, RGB in [0, 1]; h and
                w multiples of 8; where there is none, the current one again.
            first: () bool: there is no previous frame.
            hidden: (h * w + 1, C) of the previous step; zeros for the first.

        Returns:
            (1, 4h, 4w, 3) in [0, 1], and the hidden state (h * w + 1, C).
        """
        net = self.network
        h, w = frames.shape[1], frames.shape[2]
        pixels = frames.reshape(3, h * w, 3)
        rows, later = motion_rows(frames)
        looks = torch.cat(
            (
                pixels[1],
                pixels[0].index_select(0, rows),
                pixels[2].index_select(0, later),
            ),
            dim=1,
        )
        feature = F.leaky_relu(net.conv_first(as_map(looks, h, w, LOOKS)), 0.1)
        moved = hidden.index_select(0, rows)
        x = self.fuse(feature) + self.fuse_hidden(as_map(moved, h, w, net.dim))
        past = torch.where(
            first,
            to_windows(as_table(x, net.dim), w, net.dim),
            to_windows(moved, w, net.dim),
        )
        table = moved
        for group in net.groups:
            for conv in group.convs:  # type: ignore[union-attr]
                x = x + conv(x)
            tokens = to_windows(as_table(x, net.dim), w, net.dim)
            tokens = attended(group, tokens, past)  # type: ignore[arg-type]
            table = from_windows(tokens, w, net.dim)
            x = as_map(table, h, w, net.dim)
        detail = as_table(self.last(x), DETAIL)
        now = frames[1:2].permute(0, 3, 1, 2)
        return picture(self.base, now, detail), with_zero(table)
