"""Head routing inside diffusers' ``WanTransformer3DModel``.

`route` replaces the processors of its self-attention; parameters and their names stay.
Cross-attention to a prompt of one token needs no attention (`SingleTokenProcessor`).
`measure` watches the queries and keys of every layer while the model runs as usual.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from upframe.errors import RuntimeFailure, WeightsError
from upframe.systems.oasis.head_routing import (
    LayerRouting,
    Routing,
    pattern_divergence,
    spread_queries,
)
from upframe.systems.oasis.routed_attention import (
    Grid,
    HeadKind,
    Window,
    check_window,
    routed_attention,
)

Watch = Callable[[Tensor, Tensor, Grid], None]
"""Sees queries and keys (B, H, N, D) of a layer, rotary embeddings applied."""


class GridNote:
    """The grid of the tokens that are on their way through a transformer.

    Its layers see a sequence and do not know the shape it had. With gradient
    checkpointing the note must not change before the backward pass: clips of another
    size wait until then.
    """

    def __init__(self) -> None:
        self.grid = Grid(0, 0, 0)

    def take(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Forward hook of the patch embedding, whose output is (B, C, T, h, w)."""
        del module, inputs
        self.grid = Grid(*output.shape[2:])


class RoutedProcessor:
    """Takes the place of diffusers' ``WanAttnProcessor`` in self-attention.

    Args:
        kinds: of the heads.
        window: of window heads.
        note: the transformer's.
        watch: called with queries and keys, if given.
    """

    def __init__(
        self,
        kinds: Sequence[HeadKind],
        window: Window,
        note: GridNote,
        watch: Watch | None = None,
    ) -> None:
        self.kinds = tuple(kinds)
        self.window = window
        self.note = note
        self.watch = watch

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Self-attention of (B, N, C); the signature is diffusers'.

        Raises:
            RuntimeFailure: called for cross-attention or with a mask.
        """
        if encoder_hidden_states is not None or attention_mask is not None:
            raise RuntimeFailure(
                "Routed attention was asked for cross-attention or a mask.",
                "Route self-attention only; see upframe.systems.oasis.attention.route.",
            )
        q = attn.norm_q(attn.to_q(hidden_states))
        k = attn.norm_k(attn.to_k(hidden_states))
        v = attn.to_v(hidden_states)
        q, k, v = (_heads(x, attn.heads) for x in (q, k, v))
        if rotary_emb is not None:
            q, k = rotate(q, *rotary_emb), rotate(k, *rotary_emb)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if self.watch is not None:
            self.watch(q, k, self.note.grid)
        out = routed_attention(q, k, v, self.kinds, self.note.grid, self.window)
        out = out.transpose(1, 2).flatten(2).type_as(hidden_states)
        projected: Tensor = attn.to_out[1](attn.to_out[0](out))
        return projected


class SingleTokenProcessor:
    """Takes the place of diffusers' ``WanAttnProcessor`` in cross-attention.

    Attention to a single token is that token's value, whatever the query: of the four
    layers two remain, on one token instead of all.

    Args:
        usual: processor of longer prompts.
    """

    def __init__(self, usual: Any) -> None:
        self.usual = usual

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Cross-attention of (B, N, C) to a prompt; the signature is diffusers'."""
        if encoder_hidden_states.shape[1] > 1:
            out: Tensor = self.usual(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
            )
            return out
        value: Tensor = attn.to_out[1](attn.to_out[0](attn.to_v(encoder_hidden_states)))
        return value.expand_as(hidden_states)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:2], heads, -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embeddings of neighbouring pairs of channels, in the tables' precision.

    Args:
        x: (B, N, H, D).
        cos: (1, N, 1, D), each value twice.
        sin: the same.
    """
    first, second = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    c, s = cos[..., 0::2], sin[..., 0::2]
    turned = torch.stack((first * c - second * s, first * s + second * c), dim=-1)
    return turned.flatten(-2).type_as(x)


def architecture(transformer: Any) -> str:
    """SHA-256 of what decides whether a routing fits: layers, heads, patches."""
    config = transformer.config
    facts = {
        "class": type(transformer).__name__,
        "layers": config.num_layers,
        "heads": config.num_attention_heads,
        "head_dim": config.attention_head_dim,
        "patch": list(config.patch_size),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def attention_weights(transformer: Any) -> str:
    """SHA-256 of what makes queries and keys, in float32."""
    digest = hashlib.sha256()
    for block in transformer.blocks:
        attn = block.attn1
        for part in (attn.to_q, attn.to_k, attn.norm_q, attn.norm_k):
            for value in part.parameters():
                digest.update(value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def global_routing(transformer: Any, window: Sequence[int] = (3, 9, 9)) -> Routing:
    """The routing that changes nothing."""
    config = transformer.config
    layer = LayerRouting(heads=("global",) * config.num_attention_heads)
    return Routing(
        architecture=architecture(transformer),
        window=check_window(window),
        layers=(layer,) * config.num_layers,
    )


def route(transformer: Any, routing: Routing) -> None:
    """Restrict each head to what the routing allows; may be called again.

    Args:
        transformer: diffusers' ``WanTransformer3DModel``; changed in place.
        routing: made for a transformer of this architecture.

    Raises:
        WeightsError: it was made for another.
    """
    config = transformer.config
    sizes = {len(layer.heads) for layer in routing.layers}
    if (
        routing.architecture != architecture(transformer)
        or len(routing.layers) != config.num_layers
        or sizes != {config.num_attention_heads}
    ):
        raise WeightsError(
            f"The routing has {len(routing.layers)} layers of {sorted(sizes)} heads "
            f"and belongs to another model than this one of {config.num_layers} "
            f"layers of {config.num_attention_heads} heads.",
            "Make one for this model with upframe calibrate.",
        )
    note = _note(transformer)
    window = Window(*routing.window)
    for block, layer in zip(transformer.blocks, routing.layers, strict=True):
        block.attn1.set_processor(RoutedProcessor(layer.heads, window, note))
        if not isinstance(usual := block.attn2.processor, SingleTokenProcessor):
            block.attn2.set_processor(SingleTokenProcessor(usual))


def _note(transformer: Any) -> GridNote:
    """The note of a transformer, hooked in at its first use."""
    embedding = transformer.patch_embedding
    for hook in embedding._forward_hooks.values():
        if isinstance(note := getattr(hook, "__self__", None), GridNote):
            return note
    note = GridNote()
    embedding.register_forward_hook(note.take)
    return note


class Divergences:
    """Sums what `measure` sees.

    Args:
        layers: of the transformer.
        heads: of each layer.
    """

    def __init__(self, layers: int, heads: int) -> None:
        self._sums = torch.zeros(layers, 2, heads, dtype=torch.float64)
        self._clips = 0
        self.largest = Grid(0, 0, 0)
        """Of the clips that were seen, the one of most tokens."""

    def add(self, layer: int, values: Tensor, grid: Grid) -> None:
        """Take (2, H) of one layer for one clip."""
        self._sums[layer] += values.cpu()
        self._clips += layer == 0
        self.largest = max(self.largest, grid, key=lambda one: one.tokens)

    def mean(self) -> Tensor:
        """(L, 2, H): KL of frame and of window attention, in nats, mean over clips."""
        return self._sums / self._clips


@contextmanager
def measure(transformer: Any, window: Window, queries: int) -> Iterator[Divergences]:
    """Measure how local each head's attention is in what runs inside the context.

    All heads are global meanwhile; the routing is put back at the end.

    Args:
        transformer: diffusers' ``WanTransformer3DModel``.
        window: to measure.
        queries: of each layer and clip, spread evenly; memory does not depend on it.
    """
    config = transformer.config
    found = Divergences(config.num_layers, config.num_attention_heads)
    kinds: tuple[HeadKind, ...] = ("global",) * config.num_attention_heads
    attentions = [block.attn1 for block in transformer.blocks]
    before = [attention.processor for attention in attentions]
    note = _note(transformer)

    def watcher(layer: int) -> Watch:
        def watch(q: Tensor, k: Tensor, grid: Grid) -> None:
            chosen = spread_queries(grid.tokens, queries)
            values = pattern_divergence(q, k, grid, window, chosen)
            found.add(layer, values, grid)

        return watch

    try:
        for layer, attention in enumerate(attentions):
            attention.set_processor(
                RoutedProcessor(kinds, window, note, watcher(layer))
            )
        yield found
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.set_processor(processor)
