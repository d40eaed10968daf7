"""Attention along time at each place, to tokens that were moved there first.

After LiftVSR (Wang et al., arXiv 2506.08529): for a reference frame i and every frame
j, a small network takes queries of i and keys of j and predicts, for each head, from
where the keys and values of j are to be taken::

    flow_ij = FlowNet([Q_i, K_j])        a vector for each token and head
    K'_ij, V'_ij = warp(K_j, flow_ij), warp(V_j, flow_ij)
    F_i = softmax over j of (Q_i · K'_ij / √d + b_{j-i}) V'_ij

The flow network and b, a bias for each head and distance in time, are not in what is
known of the paper and were chosen here; both begin at zero, where this is plain
attention along time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upframe.nn.warp import flow_warp

# Shape letters: B clips, T frames, N = h·w tokens of a frame, C channels,
# H heads, c = C / H.

Size = tuple[int, int]
"""(h, w) of a frame in tokens."""


def split_heads(x: Tensor, heads: int, size: Size) -> Tensor:
    """Tokens (..., N, C) to maps of each head (..., H, c, h, w)."""
    maps = torch.unflatten(x.transpose(-2, -1), -1, size)
    return torch.unflatten(maps, -3, (heads, -1))


def join_heads(x: Tensor) -> Tensor:
    """Maps of each head (..., H, c, h, w) to tokens (..., N, C)."""
    return x.flatten(-2).flatten(-3, -2).transpose(-2, -1)


def warp_heads(x: Tensor, flow: Tensor) -> Tensor:
    """Move the maps of each head by its own flow; what lies outside is the border.

    Args:
        x: (..., H, c, h, w).
        flow: (..., H, 2, h, w) in tokens.

    Returns:
        The shape of ``x``.
    """
    moved = flow_warp(x.flatten(0, -4), flow.flatten(0, -4), padding="border")
    return moved.view(x.shape)


class TokenFlow(nn.Module):
    """From where each head is to take the tokens of another frame.

    Convolutions of 1, 5 and 3 tokens, each head for itself: a token sees 3 around it,
    which are 48 pixels of the output where a token has 16. Begins at zero.

    Args:
        channels: C.
        heads: H.
        hidden: width of the convolutions in each head; None for half of the head's, 16
            at most.
    """

    def __init__(self, channels: int, heads: int, hidden: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        hidden = hidden or max(1, min(16, channels // heads // 2))
        last = nn.Conv2d(heads * hidden, heads * 2, 3, padding=1, groups=heads)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, heads * hidden, 1, groups=heads),
            nn.SiLU(),
            nn.Conv2d(heads * hidden, heads * hidden, 5, padding=2, groups=heads),
            nn.SiLU(),
            last,
        )

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """A vector for each token and head.

        Args:
            query: (B, T, H, c, h, w), of the frames that look.
            key: the same shape, of the frames that are looked at.

        Returns:
            (B, T, H, 2, h, w) in tokens, across and down.
        """
        frames = torch.cat((query, key), dim=3).flatten(0, 1).flatten(1, 2)
        flow = torch.unflatten(self.layers(frames), 1, (self.heads, 2))
        return torch.unflatten(flow, 0, (query.shape[0], query.shape[1]))


class DynamicTemporalAttention(nn.Module):
    """The attention above, then a feed-forward network.

    Args:
        channels: C.
        heads: H; divides C.
        frames: the most that a clip has.
        expansion: width of the feed-forward network over C.
        token_flow: False for plain attention along time.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        frames: int,
        *,
        expansion: int = 2,
        token_flow: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.frames = frames
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.flow = TokenFlow(channels, heads) if token_flow else None
        self.distance = nn.Parameter(torch.zeros(heads, 2 * frames - 1))
        self.out = nn.Linear(channels, channels)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.GELU(approximate="tanh"),
            nn.Linear(expansion * channels, channels),
        )

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Attend; the input itself is not added.

        Args:
            x: (B, T, N, C), T at most ``frames``.
            size: of a frame.

        Returns:
            (B, T, N, C).
        """
        x = self.norm(x)
        q, k, v = (
            split_heads(layer(x), self.heads, size)
            for layer in (self.query, self.key, self.value)
        )
        # frame by frame, for a frame needs the keys and values of all, moved to it
        seen = [self._look(frame, q[:, frame], k, v) for frame in range(x.shape[1])]
        x = self.out(join_heads(torch.stack(seen, dim=1)))
        out: Tensor = x + self.feed_forward(x)
        return out

    def _look(self, frame: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What one frame sees: q (B, H, c, h, w), k and v (B, T, ...), to q's shape."""
        if self.flow is not None:
            flow = self.flow(q[:, None].expand_as(k), k)
            k, v = warp_heads(torch.cat((k, v), dim=3), flow).chunk(2, dim=3)
        logits = (q[:, None] * k).sum(dim=3).float() * q.shape[2] ** -0.5
        first = self.frames - 1 - frame
        bias = self.distance[:, first : first + k.shape[1]].float().T
        share = (logits + bias[:, :, None, None]).softmax(dim=1).to(v.dtype)
        out: Tensor = (share[:, :, :, None] * v).sum(dim=1)
        return out
