"""MIA-VSR lite, frame by frame outside training: the step that computes everything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite.convolutions import Convolutions, before_shuffle
from upframe.systems.mia_vsr_lite.layers import (
    ALIGNED,
    DETAIL,
    as_map,
    as_table,
    attended,
    from_windows,
    motion_rows,
    to_windows,
    upscaled,
    with_zero,
)
from upframe.systems.mia_vsr_lite.network import LiteNetwork


class WholeStep(nn.Module):
    """One frame of one clip, all of it, remembering nothing but the hidden state.

    What ``MIAVSRLite.step`` computes without masks, arranged for speed outside torch.

    Args:
        network: in eval mode.
        convolutions: of it; None for those in float.
    """

    def __init__(
        self, network: LiteNetwork, convolutions: Convolutions | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.convolutions = convolutions or Convolutions(network)
        self.base = before_shuffle(network.base)

    def forward(
        self, frames: Tensor, first: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Upscale a frame.

        Args:
            frames: (3, h, w, 3) previous, current and next frame, RGB in [0, 1]; h and
                w multiples of 8; where there is none, the current one again.
            first: () bool: there is no previous frame.
            hidden: (h * w + 1, C) codes of the previous step; those of 0 for the first.

        Returns:
            (1, 4h, 4w, 3) in [0, 1], and the hidden state (h * w + 1, C).
        """
        net, convs = self.network, self.convolutions
        h, w, dim = frames.shape[1], frames.shape[2], net.dim
        pixels = convs.first.before.encode(frames.reshape(3, h * w, 3))
        rows, later = motion_rows(frames)
        aligned_inputs = torch.cat(
            (
                pixels[1],
                pixels[0].index_select(0, rows),
                pixels[2].index_select(0, later),
            ),
            dim=1,
        )
        made = convs.first(as_map(aligned_inputs, h, w, ALIGNED), padding=1)
        feature = F.leaky_relu(convs.first.after.decode(made), 0.1)
        moved = hidden.index_select(0, rows)
        fused = convs.fuse(convs.fuse.before.encode(feature), padding=1)
        added = convs.fuse_hidden(as_map(moved, h, w, dim), padding=1)
        x = convs.fuse.after.decode(fused) + convs.fuse_hidden.after.decode(added)
        state = convs.last.before
        past = torch.where(
            first,
            to_windows(as_table(x, dim), w, dim),
            to_windows(state.decode(moved), w, dim),
        )
        table = moved
        for i, group in enumerate(net.groups):
            for one, other in convs.pairs(i):
                middle = one.after.decode(one(one.before.encode(x), padding=1))
                middle = other.before.encode(F.leaky_relu(middle, 0.1))
                x = x + other.after.decode(other(middle, padding=1))
            tokens = to_windows(as_table(x, dim), w, dim)
            tokens = attended(group, tokens, past)  # type: ignore[arg-type]
            table = from_windows(tokens, w, dim)
            x = as_map(table, h, w, dim)
        table = state.encode(table)
        detail = as_table(convs.last(as_map(table, h, w, dim), padding=1), DETAIL)
        now = frames[1:2].permute(0, 3, 1, 2)
        whole = upscaled(self.base, now, convs.last.after.decode(detail))
        return whole.clamp(0, 1), with_zero(table, state.zero)
