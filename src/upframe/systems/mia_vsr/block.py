"""One block of MIA-VSR: masked attention to three frames, then a masked feed-forward.

A block remembers, of the frame that its branch visited last, its normalised input and
the outputs of its attention and feed-forward. A linear layer scores each token by how
much the normalised input changed; tokens with a score below zero copy the remembered
outputs instead of computing them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr.sparse_attention import Projections, attend, augment
from upframe.systems.mia_vsr.windows import Windows

# Shape letters: B batch, C channels, h w size of the map, W windows of the map,
# N = side² tokens of one frame in a window.

_FRAMES = 3
"""Frames whose tokens are attended to: two past results of the branch, and this one."""
_TAU = 2 / 3
"""Temperature of the Gumbel sigmoid in training."""


class Memory(NamedTuple):
    """What a block remembers of the frame that its branch visited last."""

    norm: Tensor
    """(B, h, w, C) normalised input, without gradient."""
    attention: Tensor
    """(B, h, w, C) output of the attention, copied where it was masked."""
    hidden: Tensor
    """(B, h, w, C) output of the feed-forward layer, copied where it was masked."""


class AdaptiveMask(nn.Module):
    """Decides for each token whether it changed enough to be computed again."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rnn = nn.Linear(dim, 1)

    def score(self, norm: Tensor, before: Tensor) -> Tensor:
        """Normalised inputs (..., C) of two frames to (...); computed from 0 on."""
        score: Tensor = self.rnn((norm - before).abs())
        return score[..., 0]

    def sample(self, score: Tensor) -> Tensor:
        """Random 0 or 1 of the same shape; the gradient is that of the soft mask.

        Half precision is left: its random numbers are zero too often for a logarithm.
        """
        score = score.to(torch.promote_types(score.dtype, torch.float32))
        first, second = (
            -torch.log(-torch.log(torch.rand_like(score) + 1e-8) + 1e-8)
            for _ in range(2)
        )
        soft = torch.sigmoid((score + first - second) / _TAU)
        hard = (soft >= 0.5).to(soft)
        return hard - soft.detach() + soft


def choose(score: Tensor, keep_ratio: float | None, windows: Windows) -> Tensor:
    """Which tokens inference computes.

    Args:
        score: (B, h * w).
        keep_ratio: share of each image's tokens; whole windows in the order of their
            mean scores, the last of them in part. None for the threshold of training:
            each token with a score of 0 and more.
        windows: how the map is cut.

    Returns:
        (B, h * w) bool.
    """
    if keep_ratio is None:
        return score >= 0
    most = round(keep_ratio * score.shape[1])
    inside = windows.rows < score.shape[1]
    # sums of half-precision scores would tie
    exact = score.to(torch.promote_types(score.dtype, torch.float32))
    by_window = F.pad(exact, (0, 1))[:, windows.rows]
    order = (by_window.sum(dim=2) / inside.sum(dim=1)).argsort(dim=1, descending=True)
    chosen = torch.zeros_like(score, dtype=torch.bool)
    for image, ranked in zip(chosen, order, strict=True):
        image[windows.rows[ranked][inside[ranked]][:most]] = True
    return chosen


class Attention(nn.Module):
    """Attention of a window's tokens in the current frame to those in all frames."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        offsets = 2 * side - 1
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(_FRAMES * offsets**2, heads)
        )
        place = torch.arange(side)
        apart = place[:, None] - place + side - 1  # query minus key, from 0 on
        ago = torch.arange(_FRAMES - 1, -1, -1)
        # query row and column, then key frame, row and column
        index = (
            ago[None, None, :, None, None] * offsets**2
            + apart[:, None, None, :, None] * offsets
            + apart[None, :, None, None, :]
        )
        self.register_buffer(
            "relative_position_index", index.reshape(side**2, _FRAMES * side**2)
        )
        self.predmask = AdaptiveMask(dim)
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def bias(self) -> Tensor:
        """(heads, N, 3N): what the relative position adds to the logits."""
        return self.relative_position_bias_table[self.relative_position_index].permute(
            2, 0, 1
        )

    def rows(self) -> Tensor:
        """(N, heads, 3N): the same, by query."""
        return self.relative_position_bias_table[self.relative_position_index].permute(
            0, 2, 1
        )

    def folded(self, norm: nn.LayerNorm) -> Projections:
        """The layers with the normalisation before them."""
        return Projections.fold(norm, self.qkv, self.proj, self.heads)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend inside windows.

        Args:
            x: (B * W, 3N, C), normalised, the current frame last.
            mask: (W, N, 3N) added to the logits, or None.

        Returns:
            (B * W, N, C) for the current frame, after the output projection.
        """
        count, tokens, dim = x.shape
        current = x[:, -(tokens // _FRAMES) :]
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(current, weight[:dim], bias[:dim]) * self.scale
        q = q.reshape(count, -1, self.heads, dim // self.heads).transpose(1, 2)
        kv = F.linear(x, weight[dim:], bias[dim:])
        k, v = kv.reshape(count, tokens, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) + self.bias()
        if mask is not None:
            logits = logits.reshape(-1, len(mask), *logits.shape[1:]) + mask[:, None]
            logits = logits.flatten(0, 1)
        mixed = (logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(current.shape)
        out: Tensor = self.proj(mixed)
        return out


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Masked intra and inter-frame attention, then a masked feed-forward layer.

    Args:
        dim: channels.
        heads: heads of the attention.
        side: side of a window.
        shifted: whether windows are shifted by half a window.
        hidden: channels inside the feed-forward layer.
        drop_path: how often training leaves the attention out.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        side: int,
        *,
        shifted: bool,
        hidden: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.shifted = shifted
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, side)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, hidden)

    def forward(
        self,
        x: Tensor,
        past: Tensor,
        memory: Memory | None,
        windows: Windows,
        keep_ratio: float | None,
    ) -> tuple[Tensor, Memory, Tensor]:
        """Compute all tokens, then copy the remembered ones where the mask is 0.

        Args:
            x: (B, h, w, C) current frame.
            past: (B, 2, h, w, C) aligned results of the two frames before.
            memory: of the frame visited last; None computes all tokens.
            windows: how the map is cut for this block.
            keep_ratio: see :func:`choose`; training samples its mask instead.

        Returns:
            The frame, what to remember of it, and (B, h, w): 1 for each token that was
            computed, 0 for the others; in training with the gradient of the mask.
        """
        norm = self.norm1(torch.cat((past, x[:, None]), dim=1))
        cut = windows.cut(norm)
        mask = windows.mask(_FRAMES, cut.dtype)
        attention = windows.join(self.attn(cut, mask))
        now = norm[:, -1].detach()
        if memory is not None:
            score = self.attn.predmask.score(now, memory.norm)
            if self.training:
                kept = self.attn.predmask.sample(score)
            else:
                chosen = choose(score.flatten(1), keep_ratio, windows)
                kept = chosen.view(score.shape).to(score)
            attention = _blend(kept, attention, memory.attention)
        x = x + self._drop(attention)
        hidden = self.mlp(self.norm2(x))
        if memory is None:
            kept = x.new_ones(x.shape[:-1])
        else:
            hidden = _blend(kept, hidden, memory.hidden)
        return x + hidden, Memory(now, attention, hidden), kept

    def skipping(
        self,
        x: Tensor,
        past: Tensor,
        memory: Memory | None,
        windows: Windows,
        keep_ratio: float | None,
    ) -> tuple[Tensor, Memory, Tensor]:
        """What :meth:`forward` computes at inference, without the dropped tokens.

        Args:
            x: (1, h, w, C) current frame.
            past: (W, 2N, C + 1) augmented windows of the two frames before.
            memory: of the frame visited last, as this method returned it. It is
                overwritten.
            windows: how the map is cut for this block.
            keep_ratio: see :func:`choose`.

        Returns:
            As :meth:`forward`; the memory's tensors are flat: (h * w + 1, C + 1)
            augmented tokens and twice (h * w, C).
        """
        flat = x.reshape(-1, x.shape[-1])
        tokens = F.pad(augment(flat, self.norm1.eps), (0, 0, 0, 1))
        if memory is None:
            chosen = None
            attention, hidden = torch.empty_like(flat), torch.empty_like(flat)
        else:
            attention, hidden = memory.attention, memory.hidden
            rnn = self.attn.predmask.rnn
            # the normalisation's scale, taken out of the absolute value
            weight = F.pad(rnn.weight * self.norm1.weight.abs(), (0, 1))
            change = torch.sub(tokens[:-1], memory.norm[:-1]).abs_()
            score = F.linear(change, weight, rnn.bias)
            chosen = choose(score.view(1, -1), keep_ratio, windows)[0]
        positions, values = attend(
            tokens,
            past,
            chosen,
            windows,
            self.attn.folded(self.norm1),
            self.attn.rows(),
        )
        attention.index_copy_(0, positions, values)
        flat = flat + attention
        hidden.index_copy_(0, positions, self.mlp(self.norm2(flat[positions])))
        flat += hidden
        kept = flat.new_ones(len(flat)) if chosen is None else chosen.to(flat)
        memory = Memory(tokens, attention, hidden)
        return flat.view(x.shape), memory, kept.view(x.shape[:-1])

    def drops_unchanged(self, keep_ratio: float | None) -> bool:
        """Whether a token that did not change at all is never computed again."""
        if keep_ratio is None:
            return self.attn.predmask.rnn.bias.item() < 0
        return keep_ratio == 0

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return x
        stays = 1 - self.drop_path
        kept = torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype) < stays
        return x * kept.to(x) / stays


def _blend(kept: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Tokens (B, h, w, C), new where (B, h, w) is 1 and old where it is 0."""
    kept = kept[..., None].to(new.dtype)
    return kept * new + (1 - kept) * old
