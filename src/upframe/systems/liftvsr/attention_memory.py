"""A memory of what was seen before a clip, as large after a minute as after a second.

The attention memory cache of LiftVSR (Wang et al., arXiv 2506.08529). What is known of
the paper says that features query the cache, that the result is fused with them, and
that the cache is updated. The equations were chosen here. One token M for each place
and layer stands for all that was before::

    read:    flow = FlowNet([Q, K_M]);  K', V' = warp(K_M, flow), warp(V_M, flow)
             sigmoid(Q · K' / √d + b) V'
    update:  M ← M' + u (F_last - M'),  u = sigmoid(W [M', F_last])

M' is the cache moved to the last frame, the nearest to what comes next, by that frame's
flow, each head its own channels. Read and update have a gate per token and head. F_last
is normalised and M a mean of such features, so it cannot grow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upframe.systems.liftvsr.temporal_attention import (
    Size,
    TokenFlow,
    join_heads,
    split_heads,
    warp_heads,
)

# Shape letters as in `upframe.systems.liftvsr.temporal_attention`.


class AttentionMemory(nn.Module):
    """Reads and writes a cache that the caller keeps.

    Args:
        channels: C.
        heads: H; divides C.
        token_flow: False to look at the same place only.
    """

    def __init__(self, channels: int, heads: int, *, token_flow: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.flow = TokenFlow(channels, heads) if token_flow else None
        self.bias = nn.Parameter(torch.zeros(heads))
        self.gate = nn.Linear(2 * channels, heads)

    def read(self, x: Tensor, cache: Tensor, size: Size) -> Tensor:
        """What each token reads from the cache.

        Args:
            x: (B, T, N, C), features of a clip.
            cache: (B, N, C), what :meth:`update` returned.
            size: of a frame.

        Returns:
            (B, T, N, C).
        """
        q = split_heads(self.query(self.norm(x)), self.heads, size)
        key, value = (
            split_heads(layer(cache)[:, None], self.heads, size).expand_as(q)
            for layer in (self.key, self.value)
        )
        if self.flow is not None:
            flow = self.flow(q, key)
            key, value = warp_heads(torch.cat((key, value), dim=3), flow).chunk(2, 3)
        logits = (q * key).sum(dim=3, keepdim=True) * q.shape[3] ** -0.5
        gate = (logits + self.bias.view(-1, 1, 1, 1)).sigmoid()
        return join_heads(gate * value)

    def update(self, x: Tensor, cache: Tensor | None, size: Size) -> Tensor:
        """The cache after a clip.

        Args:
            x: (B, T, N, C), features of the clip.
            cache: (B, N, C), from before it; None for none.
            size: of a frame.

        Returns:
            (B, N, C).
        """
        last: Tensor = self.norm(x[:, -1:])
        if cache is None:
            return last[:, 0]
        old = cache[:, None]
        if self.flow is not None:
            q, key, held = (
                split_heads(tokens, self.heads, size)
                for tokens in (self.query(last), self.key(old), old)
            )
            old = join_heads(warp_heads(held, self.flow(q, key)))
        gate: Tensor = self.gate(torch.cat((old, last), dim=-1)).sigmoid()
        channels = (self.heads, -1)
        new = torch.lerp(
            torch.unflatten(old, -1, channels),
            torch.unflatten(last, -1, channels),
            gate[..., None],
        )
        return new.flatten(-2)[:, 0].contiguous()
