"""MIA-VSR: masked intra and inter-frame attention for video super-resolution, ×4.

Paper: Zhou et al., "Video Super-Resolution Transformer with Masked Inter&Intra-Frame
Attention", CVPR 2024, arXiv 2401.06312. The authors' code is Apache-2.0
(github.com/LabShuHangGU/MIA-VSR); this is an own implementation with their parameter
names, so that their checkpoints load.

::

    frames ─ conv ─ backward_1 ─ forward_1 ─ backward_2 ─ forward_2 ─ upsample ─(+)─
       └──────────────────────────── bilinear ×4 ───────────────────────────────┘
    a branch walks along the clip; at each frame:
        past two results of the branch, moved along the flow in 8×8 patches ┐
        result of the previous branch for this frame ─ groups of blocks ────┴─ conv ─(+)
    a block:  x + attention(queries: this frame; keys, values: all three frames)
              x + feed-forward(x)

Neighbouring frames resemble each other. Each block remembers, of the frame its branch
visited last, its normalised input and the outputs of its attention and feed-forward.
A linear layer scores each token by how much the normalised input changed; tokens with a
score below zero copy the remembered outputs instead of computing them. There is no
motion in this comparison: a token is compared with its own place.

The network without masks (the paper's IIA-VSR) is the same one with ``use_mask=False``.

Deviations from the authors' code, none of which changes an output:

* What a block remembers is passed to it and returned by it. The authors change a list
  inside a function that gradient checkpointing runs twice, so that their second run can
  see another frame's values.
* Optical flow is computed without gradients: the nearest-neighbour patch alignment
  passes none to it.
* Clips smaller than 64 pixels are padded inside; the authors refuse them.
* Keep ratios count the tokens of the map; the authors also count those that pad it to
  whole windows.
* One frame and one picture per batch at a time, inference skips dropped tokens entirely
  (``upframe.nn.sparse_attention``); the authors skip the output projection and the
  feed-forward layer. ``keep_ratio`` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from upframe.errors import UsageError
from upframe.nn.flow import SpyNet
from upframe.nn.reuse import Made, recompute
from upframe.nn.sparse_attention import Projections, attend, augment
from upframe.nn.warp import follow, patch_warp
from upframe.nn.windows import Windows

# Shape letters: B batch, T frames of the clip, C channels, h w size of the map, W
# windows of the map, N = side² tokens of one frame in a window.

BRANCHES = ("backward_1", "forward_1", "backward_2", "forward_2")
SCALE = 4
PATCH = 8
"""Side of the patches that alignment moves, in pixels."""

_PAST = 2
"""Aligned results of the branch that a frame sees beside itself."""
_FRAMES = _PAST + 1
_TAU = 2 / 3
"""Temperature of the Gumbel sigmoid in training."""
_SMALLEST = 64
"""Sides are padded to this, so that the flow's coarsest level has two pixels."""
_REACH = 3
"""How far the reconstruction sees, in pixels of the input."""
_FLOWS_AT_ONCE = 8
"""Pairs of frames in one batch of the flow network; bounds its memory."""


class Memory(NamedTuple):
    """What a block remembers of the frame that its branch visited last."""

    norm: Tensor
    """(B, h, w, C) normalised input, without gradient."""
    attention: Tensor
    """(B, h, w, C) output of the attention, copied where it was masked."""
    hidden: Tensor
    """(B, h, w, C) output of the feed-forward layer, copied where it was masked."""


class Visit(NamedTuple):
    """What a branch remembers of the frame that it visited last."""

    blocks: list[Memory]
    """One for each block."""
    convs: list[Made]
    """One for each group, then the last convolution; empty where nothing is skipped."""
    x: Tensor
    """(B, C, h, w) that it was given."""
    out: Tensor
    """(B, C, h, w) that it made of it."""


class Restored(NamedTuple):
    """A clip and how much of it was computed."""

    frames: Tensor
    """(B, T, 3, 4h, 4w), RGB, not clipped."""
    keep_ratios: Tensor
    """(calls,) share of tokens computed, 0 to 1, in order of branches, then frames from
    the second visited on, then blocks; empty where nothing can be masked. In training
    it carries the gradient of the masks: the paper's loss is Charbonnier's plus λ times
    its mean, λ 1e-4 in the authors' code and 5e-4 in the paper."""


# One block -------------------------------------------------------------------------


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
        keep_ratio: share of each picture's tokens; whole windows in the order of their
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
    for picture, ranked in zip(chosen, order, strict=True):
        picture[windows.rows[ranked][inside[ranked]][:most]] = True
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
        """Compute all tokens, then put the remembered ones in where the mask says so.

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
        drawn = torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype) < stays
        return x * drawn.to(x) / stays


def _blend(kept: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Tokens (B, h, w, C), new where (B, h, w) is 1 and old where it is 0."""
    kept = kept[..., None].to(new.dtype)
    return kept * new + (1 - kept) * old


# One branch ------------------------------------------------------------------------


@dataclass(frozen=True)
class Cuts:
    """Both ways to cut the map."""

    plain: Windows
    shifted: Windows

    @classmethod
    def of(cls, x: Tensor, side: int) -> Cuts:
        """For maps of the size and device of (..., h, w)."""
        h, w = x.shape[-2:]
        plain, shifted = (
            Windows(h, w, side, shifted=shifted, device=x.device)
            for shifted in (False, True)
        )
        return cls(plain, shifted)


class _Blocks(nn.Module):
    """Carries the level ``residual_group`` of the authors' names."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class Group(nn.Module):
    """Blocks, a convolution, and the group's input added to its output."""

    def __init__(self, dim: int, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.residual_group = _Blocks(blocks)
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def blocks(self) -> list[Block]:
        """The blocks, in order."""
        return [b for b in self.residual_group.blocks if isinstance(b, Block)]


class _PatchEmbed(nn.Module):
    """Carries the level ``patch_embed`` of the authors' names."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)


class Branch(nn.Module):
    """The transformer that one branch applies to each of its frames."""

    def __init__(
        self,
        dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        side: int,
        hidden: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        # These two and conv_before_upsample are in the authors' files and are never
        # used: their class also serves as a network of its own, which takes pictures.
        self.conv_first = nn.Conv2d(3, dim, 3, padding=1)
        self.conv_first_feat = nn.Conv2d(64, dim, 3, padding=1)
        self.patch_embed = _PatchEmbed(dim)
        drops = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.layers = nn.ModuleList(
            Group(
                dim,
                [
                    Block(
                        dim,
                        n_heads,
                        side,
                        shifted=bool(index % 2),
                        hidden=hidden,
                        drop_path=next(drops),
                    )
                    for index in range(depth)
                ],
            )
            for depth, n_heads in zip(depths, heads, strict=True)
        )
        self.norm = nn.LayerNorm(dim)
        self.conv_after_body = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv_before_upsample = nn.Conv2d(dim, 64, 3, padding=1)
        self.checkpointing = False
        self.skip_dropped = True

    def groups(self) -> list[Group]:
        """The groups of blocks, in order."""
        return [group for group in self.layers if isinstance(group, Group)]

    def blocks(self) -> list[Block]:
        """The blocks of all groups, in order."""
        return [block for group in self.groups() for block in group.blocks()]

    def forward(
        self,
        x: Tensor,
        past: Tensor,
        visit: Visit | None,
        cuts: Cuts,
        keep_ratio: float | None,
    ) -> tuple[Tensor, Visit, list[Tensor]]:
        """One frame.

        Args:
            x: (B, C, h, w) current frame.
            past: (B, 2, C, h, w) aligned results, the older one first.
            visit: what this returned for the frame visited last; None masks nothing.
                Its memories are overwritten where dropped tokens are skipped.
            cuts: of the map.
            keep_ratio: see :func:`choose`.

        Returns:
            (B, C, h, w), what the branch is to remember, and which tokens each block
            computed, as :meth:`Block.forward` tells.
        """
        skips = self.skips(x)
        if skips and visit is not None and self._stands_still(x, visit, keep_ratio):
            return visit.out, visit, [x.new_zeros(x[:, 0].shape) for _ in visit.blocks]
        tokens = self.patch_embed.norm(x.permute(0, 2, 3, 1))
        past = self.patch_embed.norm(past.permute(0, 1, 3, 4, 2))
        pasts = {False: past, True: past}
        if skips:
            past = augment(past, self.norm.eps)
            pasts = {False: cuts.plain.cut(past), True: cuts.shifted.cut(past)}
        remembered: list[Memory] = []
        convs: list[Made] = []
        kept: list[Tensor] = []

        def convolve(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
            given = (tokens.permute(0, 3, 1, 2),)
            if not skips:
                plain: Tensor = conv(*given)
                return plain
            before = visit.convs[len(convs)] if visit is not None else None
            convs.append(recompute(conv, given, before, reach=1))
            return convs[-1].result

        for group in self.groups():
            before = tokens
            for block in group.blocks():
                arguments = (
                    tokens,
                    pasts[block.shifted],
                    None if visit is None else visit.blocks[len(remembered)],
                    cuts.shifted if block.shifted else cuts.plain,
                    keep_ratio,
                )
                if skips:
                    tokens, memory, mask = block.skipping(*arguments)
                elif self.checkpointing and torch.is_grad_enabled():
                    tokens, memory, mask = checkpoint(
                        block, *arguments, use_reentrant=False
                    )
                else:
                    tokens, memory, mask = block(*arguments)
                remembered.append(memory)
                kept.append(mask)
            tokens = before + convolve(group.conv, tokens).permute(0, 2, 3, 1)
        out = x + convolve(self.conv_after_body, self.norm(tokens))
        return out, Visit(remembered, convs, x, out), kept

    def skips(self, x: Tensor) -> bool:
        """Whether a frame of (B, C, h, w) is computed without its dropped tokens.

        Not under autocast, which does not see into the folded layers.
        """
        return (
            self.skip_dropped
            and not torch.is_autocast_enabled(x.device.type)
            and not self.training
            and not torch.is_grad_enabled()
            and len(x) == 1
        )

    def _stands_still(self, x: Tensor, visit: Visit, keep_ratio: float | None) -> bool:
        """Whether the result is that of the last visit to the last bit.

        Where all blocks drop what has not changed, an unchanged frame passes through
        them as before, whatever the past frames show.
        """
        return torch.equal(x, visit.x) and all(
            block.drops_unchanged(keep_ratio) for block in self.blocks()
        )


# The network -----------------------------------------------------------------------


class MIAVSR(nn.Module):
    """The whole network; the defaults are the authors' size, 16.6 M parameters.

    Args:
        mid_channels: channels of the reconstruction.
        embed_dim: channels of the branches.
        depths: blocks of each group; even, so that both ways to cut are used equally.
        heads: heads of each group's attention; each divides ``embed_dim``.
        window: side of the attention windows in pixels.
        mlp_ratio: hidden over outer channels of the feed-forward layers.
        use_mask: whether unchanged tokens are masked; off, this is IIA-VSR.
        drop_path: how often training leaves out the attention of the last block; grows
            linearly from 0 at the first.

    Attributes:
        keep_ratio: at inference, the share of tokens that each block computes again
            from the second visited frame on, 0 to 1; 1 computes everything, None as
            many as training taught. A ratio ranks whole windows, see :func:`choose`.
            Training ignores it.
        checkpointing: in training, compute each block a second time during the backward
            pass instead of keeping its intermediate results; the gradients are the
            same.
    """

    def __init__(
        self,
        mid_channels: int = 64,
        embed_dim: int = 120,
        depths: Sequence[int] = (6, 6, 6, 6),
        heads: Sequence[int] = (6, 6, 6, 6),
        window: int = 8,
        mlp_ratio: float = 2.0,
        use_mask: bool = True,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.window = window
        self.use_mask = use_mask
        self.keep_ratio: float | None = None
        hidden = int(embed_dim * mlp_ratio)
        self.conv_before_upsample = nn.Conv2d(embed_dim, mid_channels, 3, padding=1)
        self.spynet = SpyNet()
        self.conv_first = nn.Conv2d(3, embed_dim, 3, padding=1)
        self.patch_align = nn.ModuleDict(
            {
                name: Branch(embed_dim, depths, heads, window, hidden, drop_path)
                for name in BRANCHES
            }
        )
        self.upconv1 = nn.Conv2d(mid_channels, mid_channels * 4, 3, padding=1)
        self.upconv2 = nn.Conv2d(mid_channels, 64 * 4, 3, padding=1)
        self.conv_hr = nn.Conv2d(64, 64, 3, padding=1)
        self.conv_last = nn.Conv2d(64, 3, 3, padding=1)
        self.patch_align.apply(_initialise)

    @property
    def checkpointing(self) -> bool:
        """Whether training computes blocks twice to save memory."""
        return any(branch.checkpointing for branch in self._branches().values())

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        for branch in self._branches().values():
            branch.checkpointing = on

    @property
    def skip_dropped(self) -> bool:
        """Whether inference skips dropped tokens instead of overwriting them."""
        return all(branch.skip_dropped for branch in self._branches().values())

    @skip_dropped.setter
    def skip_dropped(self, on: bool) -> None:
        for branch in self._branches().values():
            branch.skip_dropped = on

    def forward(self, frames: Tensor) -> Tensor:
        """Enlarge a clip four times.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; any T, h and w of 16 and more.

        Returns:
            (B, T, 3, 4h, 4w), not clipped.
        """
        return self.restore(frames).frames

    def restore(self, frames: Tensor) -> Restored:
        """Enlarge a clip and tell how much was computed; see :meth:`forward`.

        Raises:
            UsageError: ``keep_ratio`` is no share.
        """
        h, w = frames.shape[-2:]
        frames = extend(frames, max(h, _SMALLEST), max(w, _SMALLEST))
        features, keep_ratios = self.features(frames)
        pictures: list[Tensor] = []
        made: Made | None = None
        for given in zip(features, frames.unbind(1), strict=True):
            if self.training or torch.is_grad_enabled() or not self.skip_dropped:
                pictures.append(self._reconstruct(*given))
            else:
                made = recompute(
                    self._reconstruct, given, made, reach=_REACH, scale=SCALE
                )
                pictures.append(made.result)
        out = torch.stack(pictures, dim=1)
        return Restored(out[..., : h * SCALE, : w * SCALE], keep_ratios)

    def features(self, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the branches make of a clip: all but the reconstruction.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; h and w of 64 and more.

        Returns:
            T maps of (B, C, h, w), and the keep ratios as in :class:`Restored`.

        Raises:
            UsageError: ``keep_ratio`` is no share.
        """
        features, kept = self._walk(frames, Tensor.mean)
        ratios = [visit for visits in kept.values() for visit in visits[1:]]
        if not self.use_mask or not ratios:
            return features, frames.new_zeros(0)
        return features, torch.cat(ratios)

    @torch.inference_mode()
    def masks(self, frames: Tensor) -> dict[str, Tensor]:
        """Which tokens inference computes, to be drawn.

        Args:
            frames: as for :meth:`forward`.

        Returns:
            For each of the branches (B, T, blocks, h, w) bool, by the number of the
            frame in the clip. All is true in the frame that a branch visits first: the
            last one where it walks backward.

        Raises:
            UsageError: ``keep_ratio`` is no share.
        """
        h, w = frames.shape[-2:]
        _, kept = self._walk(
            extend(frames, max(h, _SMALLEST), max(w, _SMALLEST)),
            lambda mask: mask[:, :h, :w] > 0,
        )
        return {
            name: torch.stack(visits[::-1] if _backward(name) else visits).movedim(2, 0)
            for name, visits in kept.items()
        }

    def _walk(
        self, frames: Tensor, note: Callable[[Tensor], Tensor]
    ) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """All branches, one after the other; see :meth:`features`.

        Args:
            frames: (B, T, 3, h, w).
            note: what is to be told of the (B, h, w) mask that each block kept.

        Returns:
            T maps, and for each branch and visit (blocks, ...) what was noted.
        """
        check_share(self.keep_ratio)
        backward, forward = self._flows(frames)
        cuts = Cuts.of(frames, self.window)
        # tokens lie behind each other in memory, in the branches and out of them
        features = [
            self.conv_first(frame).contiguous(memory_format=torch.channels_last)
            for frame in frames.unbind(1)
        ]
        kept: dict[str, list[Tensor]] = {}
        for name, branch in self._branches().items():
            # features are in order of visits, which each branch turns round
            features.reverse()
            flows = backward if _backward(name) else forward
            features, kept[name] = self._propagate(branch, features, flows, cuts, note)
        return features, kept

    def _branches(self) -> dict[str, Branch]:
        return {k: b for k, b in self.patch_align.items() if isinstance(b, Branch)}

    @torch.no_grad()
    def _flows(self, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Flows from each frame to the one visited before it, in order of visits.

        Args:
            frames: (B, T, 3, h, w).

        Returns:
            For walking backward and forward, T-1 flows of (B, 2, h, w) each.
        """
        pictures = frames.unbind(1)
        # equal neighbours go by the number of the first of them
        same = [0]
        for i, (last, picture) in enumerate(pairwise(pictures), 1):
            same.append(same[-1] if torch.equal(last, picture) else i)
        forward, backward = pairwise(same), pairwise(same[::-1])
        ways = [[(here, there) for there, here in way] for way in (backward, forward)]
        pairs = list(dict.fromkeys(ways[0] + ways[1]))
        flows: dict[tuple[int, int], Tensor] = {}
        for i in range(0, len(pairs), _FLOWS_AT_ONCE):
            some = pairs[i : i + _FLOWS_AT_ONCE]
            here, there = (
                torch.cat([pictures[pair[side]] for pair in some]) for side in (0, 1)
            )
            found = self.spynet(here, there).chunk(len(some))
            flows.update(zip(some, found, strict=True))
        to_later, to_earlier = ([flows[pair] for pair in way] for way in ways)
        return to_later, to_earlier

    def _propagate(
        self,
        branch: Branch,
        features: list[Tensor],
        flows: list[Tensor],
        cuts: Cuts,
        note: Callable[[Tensor], Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Walk one branch along the clip.

        Args:
            branch: what is applied to each frame.
            features: T maps of (B, C, h, w), in order of visits.
            flows: T-1, from each visit but the first to the one before.
            cuts: of the maps.
            note: what is to be told of each mask.

        Returns:
            T maps in order of visits, and (blocks, ...) what was noted at each.
        """
        done: list[Tensor] = []
        notes: list[Tensor] = []
        visit: Visit | None = None
        # where everything is kept there is nothing to compare
        masks = self.use_mask and (self.training or self.keep_ratio != 1)
        for i, x in enumerate(features):
            past = torch.stack(_aligned(x, done, flows, i), dim=1)
            x, visit, kept = branch(
                x, past, visit if masks else None, cuts, self.keep_ratio
            )
            notes.append(torch.stack([note(mask) for mask in kept]))
            done.append(x)
        return done, notes

    def _reconstruct(self, x: Tensor, frame: Tensor) -> Tensor:
        """(B, C, h, w) and its (B, 3, h, w) frame to (B, 3, 4h, 4w)."""
        x = self.conv_before_upsample(x)
        x = F.leaky_relu(F.pixel_shuffle(self.upconv1(x), 2), 0.1)
        x = F.leaky_relu(F.pixel_shuffle(self.upconv2(x), 2), 0.1)
        out: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.1))
        return out + F.interpolate(
            frame, scale_factor=float(SCALE), mode="bilinear", align_corners=False
        )


def _backward(branch: str) -> bool:
    """Whether a branch walks from the last frame to the first."""
    return branch.startswith("backward")


def _aligned(
    x: Tensor, done: Sequence[Tensor], flows: Sequence[Tensor], i: int
) -> tuple[Tensor, Tensor]:
    """What visit ``i`` sees of the two visits before, the older one first."""
    if i == 0:
        return x, x
    flow = flows[i - 1]
    last = patch_warp(done[-1], flow, PATCH)
    if i == 1:
        return last, last
    return patch_warp(done[-2], follow(flow, flows[i - 2]), PATCH), last


def check_share(keep_ratio: float | None) -> None:
    """Refuse a keep ratio that is no share.

    Raises:
        UsageError: it is below 0 or above 1.
    """
    if keep_ratio is not None and not 0 <= keep_ratio <= 1:
        raise UsageError(
            f"A keep ratio of {keep_ratio} makes no sense.",
            "It is a share: 0 copies all it may, 1 computes everything.",
        )


def extend(frames: Tensor, height: int, width: int) -> Tensor:
    """Repeat the right and bottom edges of (B, T, 3, h, w) up to a size."""
    bottom, right = height - frames.shape[-2], width - frames.shape[-1]
    if not bottom and not right:
        return frames
    # replication knows no five axes with two that are padded
    padded = F.pad(frames.flatten(0, 1), (0, right, 0, bottom), mode="replicate")
    return padded.reshape(*frames.shape[:2], *padded.shape[1:])


def _initialise(module: nn.Module) -> None:
    """Start as the authors do: small normal weights of linear layers, no biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Attention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
