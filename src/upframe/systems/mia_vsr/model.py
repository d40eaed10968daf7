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
A block is in ``mia_vsr_block``, a branch in ``mia_vsr_branch``.

Deviations from the authors' code, none of which changes an output:

* What a block remembers is passed to it and returned by it. The authors change a list
  inside a function that gradient checkpointing runs twice, so that their second run can
  see another frame's values.
* Optical flow is computed without gradients: the nearest-neighbour patch alignment
  passes none to it.
* Clips smaller than 64 pixels are padded inside; the authors refuse them.
* Keep ratios count the tokens of the map; the authors also count those that pad it to
  whole windows.
* One frame and one image per batch at a time, inference skips dropped tokens entirely
  (``upframe.systems.mia_vsr.sparse_attention``); the authors skip the output projection
  and the feed-forward layer. ``keep_ratio`` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.errors import UsageError
from upframe.nn.flow import SpyNet
from upframe.nn.warp import follow, patch_warp
from upframe.systems.mia_vsr.block import Attention
from upframe.systems.mia_vsr.branch import Branch, Cuts, Visit
from upframe.systems.mia_vsr.reuse import Made, recompute
from upframe.systems.training_step import StepResult

# Shape letters: B batch, T frames of the clip, C channels, h w size of the map.

BRANCHES = ("backward_1", "forward_1", "backward_2", "forward_2")
SCALE = 4
PATCH = 8
"""Side of the patches that alignment moves, in pixels."""

_SMALLEST = 64
"""Sides are padded to this, so that the flow's coarsest level has two pixels."""
_REACH = 3
"""How far the reconstruction sees, in pixels of the input."""
_FLOWS_AT_ONCE = 8
"""Pairs of frames in one batch of the flow network; bounds its memory."""


class Restored(NamedTuple):
    """A clip and how much of it was computed."""

    frames: Tensor
    """(B, T, 3, 4h, 4w), RGB, not clipped."""
    keep_ratios: Tensor
    """(calls,) share of tokens computed, 0 to 1, in order of branches, then frames from
    the second visited on, then blocks; empty where nothing can be masked. In training
    it carries the gradient of the masks: the paper's loss is Charbonnier's plus λ times
    its mean, λ 1e-4 in the authors' code and 5e-4 in the paper."""

    def step_result(self, target: Tensor) -> StepResult:
        """What training computes its losses from."""
        ratios = self.keep_ratios if self.keep_ratios.numel() else None
        return StepResult(self.frames, target, keep_ratios=ratios)


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
        """Upscale a clip four times.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; any T, h and w of 16 and more.

        Returns:
            (B, T, 3, 4h, 4w), not clipped.
        """
        return self.restore(frames).frames

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """See `upframe.systems.training_step`."""
        return self.restore(low).step_result(high)

    def restore(self, frames: Tensor) -> Restored:
        """Upscale a clip and report how much was computed; see :meth:`forward`.

        Raises:
            UsageError: ``keep_ratio`` is no share.
        """
        h, w = frames.shape[-2:]
        frames = extend(frames, max(h, _SMALLEST), max(w, _SMALLEST))
        features, keep_ratios = self.features(frames)
        images: list[Tensor] = []
        made: Made | None = None
        for given in zip(features, frames.unbind(1), strict=True):
            if self.training or torch.is_grad_enabled() or not self.skip_dropped:
                images.append(self._reconstruct(*given))
            else:
                made = recompute(
                    self._reconstruct, given, made, reach=_REACH, scale=SCALE
                )
                images.append(made.result)
        out = torch.stack(images, dim=1)
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
        """Which tokens inference computes, for plots.

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
            note: called with the (B, h, w) mask that each block kept.

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
        images = frames.unbind(1)
        # equal neighbours go by the number of the first of them
        same = [0]
        for i, (last, image) in enumerate(pairwise(images), 1):
            same.append(same[-1] if torch.equal(last, image) else i)
        forward, backward = pairwise(same), pairwise(same[::-1])
        ways = [[(here, there) for there, here in way] for way in (backward, forward)]
        pairs = list(dict.fromkeys(ways[0] + ways[1]))
        flows: dict[tuple[int, int], Tensor] = {}
        for i in range(0, len(pairs), _FLOWS_AT_ONCE):
            some = pairs[i : i + _FLOWS_AT_ONCE]
            here, there = (
                torch.cat([images[pair[side]] for pair in some]) for side in (0, 1)
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
            note: called with each mask.

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
            f"A keep ratio of {keep_ratio} is invalid.",
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
