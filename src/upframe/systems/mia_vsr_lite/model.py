"""MIA-VSR for a processor: the paper's ideas in a network that streams, ×4.

The paper's network (``upframe.systems.mia_vsr``) walks along a clip four times and
spends a second on a small frame of which it can skip nothing but attention. This one
keeps what the paper is about and fits the rest to a processor, where a convolution's
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
* A trained 5×5 convolution in place of bilinear enlargement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr.block import AdaptiveMask, FeedForward
from upframe.systems.mia_vsr.model import Restored, check_share, extend
from upframe.systems.mia_vsr_lite.motion import PATCH, aligned_rows, patch_motion, take
from upframe.systems.training_step import StepResult

# Shape letters: B batch, T frames, C channels, h w size, V windows of the map (in
# reading order), N = 64 tokens of a window.

SCALE = 4


class GroupMemory(NamedTuple):
    """What a group remembers of the previous frame."""

    norm: Tensor
    """(B, C, h, w) normalised input, without gradient."""
    deltas: Tensor
    """(B, K * C, h, w): what each of the K - 1 residual convolutions added to its
    input, then what attention and feed-forward added; copied where masked."""


class State(NamedTuple):
    """What is carried from frame to frame."""

    hidden: Tensor
    """(B, C, h, w)."""
    memories: tuple[GroupMemory, ...]
    """One for each group; empty where nothing is masked."""


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
        """Compute everything, then put what is remembered where the mask says so.

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


class MIAVSRLite(nn.Module):
    """The network; the defaults are ``mia-vsr-xs``.

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

    def forward(self, frames: Tensor) -> Tensor:
        """Enlarge a clip four times.

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
        """Enlarge a clip and tell how much was computed; see :meth:`forward`.

        Raises:
            UsageError: ``keep_ratio`` is no share.
        """
        check_share(self.keep_ratio)
        t, h, w = frames.shape[1], *frames.shape[-2:]
        whole = extend(frames, h + -h % PATCH, w + -w % PATCH)
        if not self.training and self.keep_ratio not in (None, 1):
            from upframe.systems.mia_vsr_lite.stream import BLOCK, restore

            whole = extend(whole, *(max(BLOCK, side) for side in whole.shape[-2:]))
            out, shares = restore(self, whole, self.keep_ratio)
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

    def step(
        self, before: Tensor, now: Tensor, after: Tensor, state: State | None
    ) -> tuple[Tensor, State, list[Tensor]]:
        """Enlarge one frame.

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
    """Weights (48, 3, 5, 5) with which a 5×5 convolution and a pixel shuffle enlarge
    four times as the bicubic kernel (a = -0.5) does."""
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
