"""MIA-VSR for a CPU: the paper's ideas in a network that streams, ×4.

The paper's network (``upframe.systems.mia_vsr``) walks along a clip four times and
spends a second on a small frame of which it can skip nothing but attention. This one
keeps what the paper is about and fits the rest to a CPU, where a convolution's
arithmetic runs three times as fast as attention's:

::

    previous, current, next frame ─ aligned ─ conv ─┐
    hidden state of the previous frame ─ aligned ───┴ conv ─ groups ─┬─ conv ─ ×4 ─(+)─
                                                                     └ hidden state
    current frame ─ 5×5 conv that begins as the bicubic kernel ─ ×4 ─────────────┘
    a group:  residual convolutions, then
              x + attention(queries: this frame; keys, values: this and the past frame)
              x + feed-forward(x)

From the paper: recurrent propagation with patch alignment; attention whose queries come
from the current frame and whose keys and values also come from the aligned, enhanced
past one; masks from the change of the normalised input, Gumbel-sampled in training,
under which the remembered output of the last frame is used again; its loss.

Deviations, each for speed:

* One pass, forward, one frame of look-ahead (as raw pixels); the paper's is
  bidirectional of second order.
* Motion by block matching (``upframe.systems.mia_vsr_lite.motion``) instead of SpyNet.
* Masks choose whole 8×8 windows and cover a whole group, its convolutions included:
  what a window of tokens needs can then be gathered in one piece. The score is the
  paper's, of the window's mean change.
* Windows are not shifted; convolutions carry what crosses their borders.
* A trained 5×5 convolution in place of bilinear upsampling.
"""

from __future__ import annotations

import torch
from torch import Tensor

from upframe.systems.mia_vsr.model import Restored, check_share, extend
from upframe.systems.mia_vsr_lite.motion import PATCH
from upframe.systems.mia_vsr_lite.network import SCALE, LiteNetwork, State
from upframe.systems.mia_vsr_lite.stream import BLOCK, StreamStep
from upframe.systems.training_step import StepResult


class MIAVSRLite(LiteNetwork):
    """The network on clips; see `LiteNetwork` for its arguments and ``keep_ratio``."""

    def forward(self, frames: Tensor) -> Tensor:
        """Upscale a clip four times.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; any T, h and w.

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
        check_share(self.keep_ratio)
        t, h, w = frames.shape[1], *frames.shape[-2:]
        whole = extend(frames, h + -h % PATCH, w + -w % PATCH)
        if not self.training and self.keep_ratio not in (None, 1):
            whole = extend(whole, *(max(BLOCK, side) for side in whole.shape[-2:]))
            out, shares = restore_blocks(self, whole, self.keep_ratio)
            return Restored(out[..., : h * SCALE, : w * SCALE], shares)
        state: State | None = None
        results: list[Tensor] = []
        ratios: list[Tensor] = []
        for i in range(t):
            window = (whole[:, max(0, i - 1)], whole[:, i], whole[:, min(t - 1, i + 1)])
            result, state, masks = self.step(*window, state)
            results.append(result)
            ratios += [mask.mean() for mask in masks]
        out = torch.stack(results, dim=1)[..., : h * SCALE, : w * SCALE]
        return Restored(out, torch.stack(ratios) if ratios else frames.new_zeros(0))


def restore_blocks(
    network: LiteNetwork, frames: Tensor, keep_ratio: float
) -> tuple[Tensor, Tensor]:
    """Upscale clips, computing at most a share of the blocks.

    Args:
        network: in eval mode.
        frames: (B, T, 3, h, w), RGB in [0, 1]; h and w multiples of 8, at least 16.
        keep_ratio: largest share from the second frame on, 0 to 1.

    Returns:
        (B, T, 3, 4h, 4w), not clipped, and the shares of windows computed from the
        second frame on, (B * (T - 1),).
    """
    step = StreamStep(network)
    share = frames.new_tensor(keep_ratio)
    results, shares = [], []
    for clip in frames.permute(0, 1, 3, 4, 2):
        memory = step.start(clip.shape[1], clip.shape[2])
        last = len(clip) - 1
        for i in range(len(clip)):
            window = clip[[max(0, i - 1), i, min(last, i + 1)]]
            first = torch.tensor(i == 0, device=clip.device)
            outcome = step.step(window, first, first, share, memory)
            memory = outcome.memory
            results.append(outcome.frame[0].permute(2, 0, 1))
            if i:
                shares.append(outcome.computed[0].mean())
    out = torch.stack(results).reshape(*frames.shape[:3], *results[0].shape[1:])
    return out, torch.stack(shares) if shares else frames.new_zeros(0)
