"""Recurrent temporal shift (RTS): neighbouring frames in a network made for images.

Liu et al., "UltraVSR", ACM MM 2025, arXiv 2505.19958; parameter names as in the
authors' code (Apache-2.0). A module has two units, and each looks one frame back and
one ahead:

* `RTSConv` moves a third of a few reduced channels from the frame before, and a third
  from the frame after, in front of a 3×3 convolution.
* `RTSAttention` lets the channels of a frame attend to those of both neighbours.

Both end in a 1×1 convolution that starts at zero, so a fresh module changes nothing.

A unit does its work in two steps. ``features`` looks at one frame, is cheap and has few
channels; ``fuse`` makes the result from the features of a frame and of its neighbours.
The whole clip (`RecurrentTemporalShift`) and frames that come one after the other
(`ShiftStream`) run the same two steps, so both give the same numbers. Beyond the ends
of the clip features are zero.

Deviations from the authors' code:

* Theirs also runs an attention of stride 0, which meets zeros and adds zeros; it is
  left out here.
* Narrow maps, which the authors do not have, would get heads of one channel or none,
  and below 30 channels no shifted ones: there (below 192) the attention has one head
  for 24 channels, and every unit has at least one channel per part.

What is kept although it looks like a slip: the middle third of the reduced channels is
zero after the shift, so the frame itself reaches the 3×3 convolution only through the
residual path. The authors' weights were trained with it. Here these channels are not
computed in the first place; the weights of theirs stay, unused.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Shape letters: N clips, T frames, B = N·T, C channels, H W height and width.

Neighbours = tuple[Tensor, Tensor, Tensor]
"""Features of the frame before, of the frame, and of the frame after, (B, F, H, W)."""


class _Unit(Protocol):
    """What `ShiftStream` needs of a unit."""

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F, H, W), each frame for itself."""

    def fuse(self, x: Tensor, features: Neighbours) -> Tensor:
        """The unit's output, (B, C, H, W)."""


class RTSConv(nn.Module):
    """Convolution unit.

    Args:
        channels: C of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(channels // 30, 1) * 3
        self.conv1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.conv_blocks = nn.ModuleList(
            [nn.Conv2d(reduced, reduced, 3, padding=1), nn.SiLU()]
        )
        self.conv3 = nn.Conv2d(reduced, channels, 1, bias=False)
        nn.init.zeros_(self.conv3.weight)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the outer thirds of the reduced channels, (B, F, H, W)."""
        return F.conv2d(x, self._outer(self.conv1.weight, 0))

    def fuse(self, x: Tensor, features: Neighbours) -> Tensor:
        """The unit's output.

        Args:
            x: (B, C, H, W).
            features: of the frame before, the frame, and the frame after.

        Returns:
            (B, C, H, W).
        """
        before, _, after = features
        third = before.shape[1] // 2
        shifted = torch.cat((before[:, :third], after[:, third:]), dim=1)
        conv, activation = self.conv_blocks
        assert isinstance(conv, nn.Conv2d)
        weight = self._outer(conv.weight, 1)
        shifted = activation(F.conv2d(shifted, weight, conv.bias, padding=1))
        out: Tensor = x + self.conv3(shifted)
        return out

    @staticmethod
    def _outer(weight: Tensor, dim: int) -> Tensor:
        """Without the middle third along an axis, which meets zeros."""
        third = weight.shape[dim] // 3
        ends = weight.narrow(dim, 0, third), weight.narrow(dim, 2 * third, third)
        return torch.cat(ends, dim)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(N·T, C, H, W) of clips of T = ``frames`` to the same shape."""
        return _whole(self, x, frames)


class RTSAttention(nn.Module):
    """Attention unit: c×c maps between channels, across the positions of a frame.

    Args:
        channels: C of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = min(8, max(channels // 24, 1))
        inner = max(channels // (12 * self.heads), 1) * 3 * self.heads
        self.temperature = nn.Parameter(torch.ones(self.heads, 1, 1))
        self.qkv = nn.Conv2d(channels, inner, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.project_out = nn.Conv2d(inner // 3, channels, 1, bias=False)
        nn.init.zeros_(self.project_out.weight)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to queries, keys and values, (B, F, H, W); queries and keys of
        length 1."""
        made = self.qkv_dwconv(self.qkv(x)).contiguous()
        directions, values = made.split((2 * made.shape[1] // 3, made.shape[1] // 3), 1)
        directions = F.normalize(directions.flatten(2), dim=-1).view_as(directions)
        return torch.cat((directions, values), dim=1)

    def fuse(self, x: Tensor, features: Neighbours) -> Tensor:
        """The unit's output.

        Args:
            x: (B, C, H, W).
            features: of the frame before, the frame, and the frame after.

        Returns:
            (B, C, H, W).
        """
        before, here, after = features
        query = self._heads(here.chunk(3, dim=1)[0])
        seen = self._attend(query, before) + self._attend(query, after)
        seen = seen.reshape(len(x), -1, *x.shape[2:])
        # as the maps of UltraVSR's networks are; sums of two layouts are slow
        seen = seen.contiguous(memory_format=torch.channels_last)
        out: Tensor = x + self.project_out(seen)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """(B, heads·c, H, W) to (B, heads, c, H·W)."""
        return x.reshape(len(x), self.heads, -1, x.shape[-2] * x.shape[-1])

    def _attend(self, query: Tensor, features: Tensor) -> Tensor:
        _, key, value = (self._heads(part) for part in features.chunk(3, dim=1))
        cosines = query @ key.transpose(-2, -1)
        attended: Tensor = (cosines * self.temperature).softmax(dim=-1) @ value
        return attended

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(N·T, C, H, W) of clips of T = ``frames`` to the same shape."""
        return _whole(self, x, frames)


class RecurrentTemporalShift(nn.Module):
    """Both units, one after the other; looks two frames back and two ahead.

    Args:
        channels: C of the map.
    """

    reach = 2
    """Frames that it looks ahead, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.RTSConv = RTSConv(channels)
        self.RTSAtten = RTSAttention(channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Let frames exchange what they know.

        Args:
            x: (N·T, C, H, W), the frames of a clip next to each other.
            frames: T.

        Returns:
            The same shape.

        Raises:
            ValueError: the batch is no multiple of ``frames``.
        """
        out: Tensor = self.RTSAtten(self.RTSConv(x, frames), frames)
        return out


def single_frames(x: Tensor) -> list[Tensor]:
    """(n, ...) as n of (1, ...) that can wait without keeping all of it in memory."""
    return [x] if len(x) == 1 else [frame.clone() for frame in torch.split(x, 1)]


def joined(frames: list[Tensor]) -> Tensor:
    """n of (1, ...) as (n, ...); a single one as it is."""
    return frames[0] if len(frames) == 1 else torch.cat(frames)


class _UnitStream:
    """A unit on frames of one clip that come in order; answers one frame late."""

    def __init__(self, unit: _Unit) -> None:
        self._unit = unit
        self._waiting: list[Tensor] = []  # the last frame, whose successor is to come
        self._features: list[Tensor] = []  # of the frame before it, and of itself

    def push(self, x: Tensor) -> Tensor | None:
        new = self._unit.features(x)
        if not self._waiting:
            self._features = [torch.zeros_like(new[:1])]
        self._waiting += single_frames(x)
        self._features += single_frames(new)
        return self._fuse(len(self._waiting) - 1)

    def flush(self) -> Tensor | None:
        if not self._waiting:
            return None
        self._features.append(torch.zeros_like(self._features[-1]))
        return self._fuse(1)

    def _fuse(self, count: int) -> Tensor | None:
        """The first ``count`` frames, whose successors are there."""
        if count == 0:
            return None
        x = joined(self._waiting[:count])
        before, here, after = (
            joined(self._features[first : first + count]) for first in range(3)
        )
        del self._waiting[:count], self._features[:count]
        return self._unit.fuse(x, (before, here, after))


class ShiftStream:
    """A module on frames of one clip that come in order.

    It answers two frames late, and holds what it needs of two frames, however long
    the clip is. All outputs together equal those of the whole clip.

    Args:
        module: what to run.
    """

    def __init__(self, module: RecurrentTemporalShift) -> None:
        self._units = (_UnitStream(module.RTSConv), _UnitStream(module.RTSAtten))

    def push(self, x: Tensor) -> Tensor | None:
        """Give the next frames (n, C, H, W), n >= 1; returns finished ones, if any."""
        first, second = self._units
        middle = first.push(x)
        return None if middle is None else second.push(middle)

    def flush(self) -> Tensor | None:
        """End of the clip; returns the frames that are owed, None if none came."""
        first, second = self._units
        middle = first.flush()
        if middle is None:
            return None
        head, tail = second.push(middle), second.flush()
        assert tail is not None
        return tail if head is None else torch.cat((head, tail))


def _whole(unit: _Unit, x: Tensor, frames: int) -> Tensor:
    if frames < 1 or len(x) % frames:
        raise ValueError(f"a batch of {len(x)} holds no whole clips of {frames} frames")
    features = unit.features(x)
    clips = features.reshape(-1, frames, *features.shape[1:])
    end = torch.zeros_like(clips[:, :1])
    before = torch.cat((end, clips[:, :-1]), dim=1).flatten(0, 1)
    after = torch.cat((clips[:, 1:], end), dim=1).flatten(0, 1)
    return unit.fuse(x, (before, features, after))
