"""The parameters of MIA-VSR lite and one plain step of it.

What runs the network faster (`whole`, `stream`, `int8`) is built from these parameters;
`upframe.systems.mia_vsr_lite` is the network that takes clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr.block import FeedForward
from upframe.systems.mia_vsr_lite.groups import (
    Group,
    GroupMemory,
    ResidualConv,
    WindowAttention,
)
from upframe.systems.mia_vsr_lite.motion import aligned_rows, patch_motion, take

SCALE = 4


class State(NamedTuple):
    """What is carried from frame to frame."""

    hidden: Tensor
    """(B, C, h, w)."""
    memories: tuple[GroupMemory, ...]
    """One for each group; empty where nothing is masked."""


class LiteNetwork(nn.Module):
    """Parameters and one step; the defaults are ``mia-vsr-xs``.

    Args:
        dim: channels.
        groups: residual convolution pairs of each group.
        heads: heads of the attention; divides ``dim``.
        mlp_ratio: hidden over outer channels of the feed-forward layers.
        use_mask: whether unchanged windows are masked.

    Attributes:
        keep_ratio: at inference, the largest share of windows that is computed from the
            second frame on, 0 to 1, as ``upframe.systems.mia_vsr_lite.stream`` does it;
            1 computes everything, None what the trained masks keep. Training ignores
            it.
    """

    def __init__(
        self,
        dim: int = 32,
        groups: Sequence[int] = (3,),
        heads: int = 1,
        mlp_ratio: float = 2.0,
        use_mask: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.use_mask = use_mask
        self.keep_ratio: float | None = None
        self.conv_first = nn.Conv2d(9, dim, 3, padding=1)
        self.conv_fuse = nn.Conv2d(2 * dim, dim, 3, padding=1)
        self.groups = nn.ModuleList(Group(dim, n, heads, mlp_ratio) for n in groups)
        self.conv_last = nn.Conv2d(dim, 3 * SCALE**2, 3, padding=1)
        self.base = nn.Conv2d(3, 3 * SCALE**2, 5)
        self.apply(_initialise)
        with torch.no_grad():
            self.conv_last.weight.mul_(0.1)
            self.base.weight.copy_(bicubic_kernel())
            nn.init.zeros_(self.base.bias)  # type: ignore[arg-type]

    def step(
        self, before: Tensor, now: Tensor, after: Tensor, state: State | None
    ) -> tuple[Tensor, State, list[Tensor]]:
        """Upscale one frame.

        Args:
            before: (B, 3, h, w) the previous frame; ``now`` itself for the first.
            now: (B, 3, h, w) the current frame; h and w multiples of 8.
            after: (B, 3, h, w) the next frame; ``now`` itself for the last.
            state: of the previous step; None for the first.

        Returns:
            (B, 3, 4h, 4w), the next state, and the masks (B, h/8, w/8) of the groups,
            none where everything was computed.
        """
        rows = aligned_rows(patch_motion(now, before))
        later = aligned_rows(patch_motion(now, after))
        inputs = torch.cat((now, take(before, rows), take(after, later)), dim=1)
        feature = F.leaky_relu(self.conv_first(inputs), 0.1)
        if state is None:
            hidden = torch.zeros_like(feature)
        else:
            hidden = take(state.hidden, rows)
        x = feature + self.conv_fuse(torch.cat((feature, hidden), dim=1))
        past = x if state is None else hidden
        memories = None if state is None or not state.memories else state.memories
        remember = self.use_mask and (self.training or self.keep_ratio != 1)
        remembered: list[GroupMemory] = []
        masks: list[Tensor] = []
        for i, group in enumerate(self.groups):
            memory = None if memories is None else memories[i]
            x, kept, mask = group(x, past, memory, remember)
            if kept is not None:
                remembered.append(kept)
            if mask is not None:
                masks.append(mask)
        base = self.base(F.pad(now, (2, 2, 2, 2), mode="replicate"))
        result = F.pixel_shuffle(self.conv_last(x) + base, SCALE)
        return result, State(x, tuple(remembered)), masks


def bicubic_kernel() -> Tensor:
    """Weights (48, 3, 5, 5) with which a 5×5 convolution and a pixel shuffle
    upscale four times as the bicubic kernel (a = -0.5) does."""
    taps = torch.zeros(SCALE, 5)
    for phase in range(SCALE):
        centre = (phase + 0.5) / SCALE - 0.5  # in pixels of the input
        for tap in range(5):
            d = abs(tap - 2 - centre)
            if d < 1:
                taps[phase, tap] = 1.5 * d**3 - 2.5 * d**2 + 1
            elif d < 2:
                taps[phase, tap] = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    kernel = torch.zeros(3, SCALE, SCALE, 3, 5, 5)
    for colour in range(3):
        kernel[colour, :, :, colour] = torch.einsum("ia,jb->ijab", taps, taps)
    return kernel.reshape(3 * SCALE**2, 3, 5, 5)


def _initialise(module: nn.Module) -> None:
    """Residuals begin at zero, so that a group that is added to trained ones changes
    nothing at first."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ResidualConv):
        nn.init.zeros_(module.conv2.weight)
    if isinstance(module, FeedForward):
        nn.init.zeros_(module.fc2.weight)
    if isinstance(module, WindowAttention):
        nn.init.zeros_(module.proj.weight)
        nn.init.trunc_normal_(module.position_bias, std=0.02)
