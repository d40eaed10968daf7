"""One branch of MIA-VSR: the transformer that it applies to each frame of its walk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from upframe.systems.mia_vsr.block import Block, Memory
from upframe.systems.mia_vsr.reuse import Made, recompute
from upframe.systems.mia_vsr.sparse_attention import augment
from upframe.systems.mia_vsr.windows import Windows

# Shape letters: B batch, C channels, h w size of the map.


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
        # used: their class also serves as a network of its own, which takes images.
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
            computed, as :meth:`Block.forward` reports.
        """
        skips = self.skips(x)
        if skips and visit is not None and self._is_static(x, visit, keep_ratio):
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
                tokens, memory, mask = self._run(block, skips, *arguments)
                remembered.append(memory)
                kept.append(mask)
            tokens = before + convolve(group.conv, tokens).permute(0, 2, 3, 1)
        out = x + convolve(self.conv_after_body, self.norm(tokens))
        return out, Visit(remembered, convs, x, out), kept

    def _run(
        self, block: Block, skips: bool, *arguments: Any
    ) -> tuple[Tensor, Memory, Tensor]:
        """One block, in the way that suits inference or training."""
        result: tuple[Tensor, Memory, Tensor]
        if skips:
            result = block.skipping(*arguments)
        elif self.checkpointing and torch.is_grad_enabled():
            result = checkpoint(block, *arguments, use_reentrant=False)
        else:
            result = block(*arguments)
        return result

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

    def _is_static(self, x: Tensor, visit: Visit, keep_ratio: float | None) -> bool:
        """Whether the result is that of the last visit to the last bit.

        Where all blocks drop what has not changed, an unchanged frame passes through
        them as before, whatever the past frames show.
        """
        return torch.equal(x, visit.x) and all(
            block.drops_unchanged(keep_ratio) for block in self.blocks()
        )
