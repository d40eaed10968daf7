"""The groups of MIA-VSR lite: residual convolutions, window attention, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr.block import AdaptiveMask, FeedForward
from upframe.systems.mia_vsr_lite.motion import PATCH

# Shape letters: B batch, T frames, C channels, h w size, V windows of the map (in
# reading order), N = 64 tokens of a window.


class GroupMemory(NamedTuple):
    """What a group remembers of the previous frame."""

    norm: Tensor
    """(B, C, h, w) normalised input, without gradient."""
    deltas: Tensor
    """(B, K * C, h, w): what each of the K - 1 residual convolutions added to its
    input, then what attention and feed-forward added; copied where masked."""


class ResidualConv(nn.Module):
    """Two 3×3 convolutions with a leaky ReLU between them; the residual alone."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to what is to be added to it."""
        out: Tensor = self.conv2(F.leaky_relu(self.conv1(x), 0.1))
        return out


class WindowAttention(nn.Module):
    """Attention of a window's tokens to those of the same window in two frames."""

    position_index: Tensor

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        offsets = 2 * PATCH - 1
        self.position_bias = nn.Parameter(torch.zeros(2 * offsets**2, heads))
        place = torch.arange(PATCH)
        apart = place[:, None] - place + PATCH - 1
        frame = torch.arange(2) * offsets**2
        index = (
            frame[None, None, :, None, None]
            + apart[:, None, None, :, None] * offsets
            + apart[None, :, None, None, :]
        )
        self.register_buffer(
            "position_index", index.reshape(PATCH**2, 2 * PATCH**2), persistent=False
        )

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """Attend.

        Args:
            now: (V, N, C), normalised.
            past: (V, N, C), normalised.

        Returns:
            (V, N, C) after the output projection.
        """
        count, n, c = now.shape
        shape = (count, -1, self.heads, c // self.heads)
        q = self.q(now).view(shape).transpose(1, 2)
        both = self.kv(torch.cat((past, now), dim=1))
        k, v = (x.reshape(shape).transpose(1, 2) for x in both.chunk(2, dim=-1))
        bias = self.position_bias[self.position_index].permute(2, 0, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, n, c))
        return out


class Group(nn.Module):
    """Residual convolutions, then attention and feed-forward; masked by window."""

    def __init__(self, dim: int, convs: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.dim = dim
        self.norm_mask = nn.LayerNorm(dim)
        self.predmask = AdaptiveMask(dim)
        self.convs = nn.ModuleList(ResidualConv(dim) for _ in range(convs))
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(
        self,
        x: Tensor,
        past: Tensor,
        memory: GroupMemory | None,
        remember: bool,
    ) -> tuple[Tensor, GroupMemory | None, Tensor | None]:
        """Compute everything, then copy what is remembered where the mask is 0.

        Args:
            x: (B, C, h, w) current frame.
            past: (B, C, h, w) aligned hidden state of the frame before.
            memory: of the frame before; None computes all.
            remember: whether the next frame will be masked.

        Returns:
            The frame, what to remember of it, and the mask (B, h/8, w/8), 1 where
            computed, None where everything was.
        """
        mask = pixels = now = None
        if remember:
            now = _channel_norm(self.norm_mask, x.detach())
            if memory is not None:
                mask = self._mask(now, memory.norm)
                pixels = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
                pixels = pixels[:, None]
        remembered = (
            torch.split(memory.deltas, self.dim, dim=1)
            if memory is not None and pixels is not None
            else (None,) * (len(self.convs) + 1)
        )
        deltas = []
        for part, old in zip((*self.convs, self._attend), remembered, strict=True):
            delta = part(x, past) if part == self._attend else part(x)
            if pixels is not None and old is not None:
                delta = pixels * delta + (1 - pixels) * old
            x = x + delta
            deltas.append(delta)
        kept = None if now is None else GroupMemory(now, torch.cat(deltas, dim=1))
        return x, kept, mask

    def _mask(self, now: Tensor, before: Tensor) -> Tensor:
        """(B, h/8, w/8): 1 where a window is to be computed."""
        change = F.avg_pool2d((now - before).abs(), PATCH).permute(0, 2, 3, 1)
        score: Tensor = self.predmask.rnn(change)[..., 0]
        if self.training:
            return self.predmask.sample(score)
        # what did not change at all is never computed again
        return ((score >= 0) & (change.amax(dim=-1) > 0)).to(now)

    def _attend(self, x: Tensor, past: Tensor) -> Tensor:
        """(B, C, h, w) and the past to what attention and feed-forward add."""
        tokens, before = cut(x), cut(past)
        # one normalisation for both frames, as their tokens meet in one attention
        added = self.attn(self.norm1(tokens), self.norm1(before))
        added = added + self.mlp(self.norm2(tokens + added))
        return join(added, x.shape)


def cut(x: Tensor) -> Tensor:
    """(B, C, h, w) to windows (B * h/8 * w/8, 64, C), in reading order."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, c)
    return x.transpose(2, 3).reshape(-1, PATCH**2, c)


def join(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The opposite of :func:`cut`; ``shape`` is (B, C, h, w)."""
    b, c, h, w = shape
    x = x.view(b, h // PATCH, w // PATCH, PATCH, PATCH, c).transpose(2, 3)
    return x.reshape(b, h, w, c).permute(0, 3, 1, 2)


def _channel_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer normalisation over the channels of (B, C, h, w)."""
    out: Tensor = norm(x.permute(0, 2, 3, 1))
    return out.permute(0, 3, 1, 2)
