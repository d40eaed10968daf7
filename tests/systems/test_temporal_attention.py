"""Attention along time with token flows, and the memory between clips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from upframe.systems.liftvsr.attention_memory import AttentionMemory
from upframe.systems.liftvsr.temporal_attention import (
    DynamicTemporalAttention,
    TokenFlow,
    join_heads,
    split_heads,
    warp_heads,
)

SIZE = (4, 5)
C, HEADS = 12, 3


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def constant_flow(flow: TokenFlow, vectors: list[tuple[float, float]]) -> None:
    """Give each head one vector for all tokens."""
    last = flow.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.bias.copy_(torch.tensor(vectors).flatten())


def test_heads_are_split_and_joined() -> None:
    x = tokens(2, 3, 20, C)
    maps = split_heads(x, HEADS, SIZE)
    assert maps.shape == (2, 3, HEADS, C // HEADS, *SIZE)
    assert maps[1, 2, 1, 3, 2, 4] == x[1, 2, 2 * 5 + 4, 1 * 4 + 3]
    assert torch.equal(join_heads(maps), x)


def test_each_head_is_warped_by_its_own_flow() -> None:
    maps = split_heads(tokens(1, 20, C), HEADS, SIZE)
    flow = torch.zeros(1, HEADS, 2, *SIZE)
    flow[:, 1, 0] = 1.0  # head 1 takes from the right
    flow[:, 2, 1] = -1.0  # head 2 from above
    out = warp_heads(maps, flow)
    torch.testing.assert_close(out[:, 0], maps[:, 0])
    torch.testing.assert_close(out[:, 1, :, :, :-1], maps[:, 1, :, :, 1:])
    torch.testing.assert_close(out[:, 1, :, :, -1], maps[:, 1, :, :, -1])  # border
    torch.testing.assert_close(out[:, 2, :, 1:], maps[:, 2, :, :-1])


def test_untrained_it_is_plain_attention_along_time() -> None:
    torch.manual_seed(0)
    dynamic = DynamicTemporalAttention(C, HEADS, frames=4)
    x = tokens(2, 3, 20, C)
    normal = dynamic.norm(x)
    q, k, v = (
        layer(normal).unflatten(-1, (HEADS, -1)).permute(0, 2, 3, 1, 4)
        for layer in (dynamic.query, dynamic.key, dynamic.value)
    )  # (B, N, H, T, c)
    seen = F.scaled_dot_product_attention(q, k, v)
    seen = dynamic.out(seen.permute(0, 3, 1, 2, 4).flatten(-2))
    wanted = seen + dynamic.feed_forward(seen)
    torch.testing.assert_close(dynamic(x, SIZE), wanted, rtol=0, atol=1e-5)
    plain = DynamicTemporalAttention(C, HEADS, frames=4, token_flow=False)
    plain.load_state_dict(dynamic.state_dict(), strict=False)
    torch.testing.assert_close(plain(x, SIZE), wanted, rtol=0, atol=1e-5)


def test_keys_and_values_are_taken_from_where_the_flow_points() -> None:
    torch.manual_seed(0)
    dynamic = DynamicTemporalAttention(C, HEADS, frames=2)
    plain = DynamicTemporalAttention(C, HEADS, frames=2, token_flow=False)
    plain.load_state_dict(dynamic.state_dict(), strict=False)
    assert dynamic.flow is not None
    constant_flow(dynamic.flow, [(1.0, 0.0)] * HEADS)
    x = tokens(1, 2, *SIZE, C)
    # plain attention sees the same, if queries alone are moved the other way
    q, k, v = (
        split_heads(layer(dynamic.norm(x.flatten(2, 3))), HEADS, SIZE)
        for layer in (dynamic.query, dynamic.key, dynamic.value)
    )
    got = dynamic._look(1, q[:, 1], k, v)
    moved = plain._look(1, q[:, 1, ..., :-1], k[..., 1:], v[..., 1:])
    torch.testing.assert_close(got[..., :-1], moved, rtol=0, atol=1e-5)


def test_the_flow_network_gives_a_vector_for_each_pair_and_learns() -> None:
    torch.manual_seed(0)
    flow = TokenFlow(C, HEADS)
    q, k = (tokens(2, 3, HEADS, C // HEADS, *SIZE, seed=n) for n in (1, 2))
    out = flow(q, k)
    assert out.shape == (2, 3, HEADS, 2, *SIZE)
    assert not out.any()
    warp_heads(k, out).square().sum().backward()
    last = flow.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.weight.grad is not None
    assert last.weight.grad.abs().sum() > 0


def test_heads_of_the_flow_network_do_not_mix() -> None:
    torch.manual_seed(0)
    flow = TokenFlow(C, HEADS)
    nn.init.normal_(flow.layers[-1].weight)  # type: ignore[arg-type]
    q, k = (tokens(1, 1, HEADS, C // HEADS, *SIZE, seed=n) for n in (1, 2))
    before = flow(q, k)
    for given in (q, k):
        given[:, :, 1] += 1
    changed = (flow(q, k) - before).abs().amax(dim=(0, 1, 3, 4, 5)) > 1e-4
    assert changed.tolist() == [False, True, False]


def test_distance_in_time_is_told() -> None:
    torch.manual_seed(0)
    dynamic = DynamicTemporalAttention(C, HEADS, frames=3)
    with torch.no_grad():
        dynamic.distance.fill_(-1e4)
        dynamic.distance[:, 1] = 0  # j - i = -1: nothing but the frame before
    q, k, v = (split_heads(tokens(1, 3, 20, C, seed=n), HEADS, SIZE) for n in range(3))
    for frame in (1, 2):
        seen = dynamic._look(frame, q[:, frame], k, v)
        torch.testing.assert_close(seen, v[:, frame - 1], rtol=0, atol=1e-5)


def test_an_empty_memory_takes_the_last_frame() -> None:
    torch.manual_seed(0)
    memory = AttentionMemory(C, HEADS)
    x = tokens(1, 3, 20, C)
    cache = memory.update(x, None, SIZE)
    assert torch.equal(cache, memory.norm(x[:, -1]))


def test_the_memory_reads_what_the_gate_lets_through() -> None:
    torch.manual_seed(0)
    memory = AttentionMemory(C, HEADS)
    x, cache = tokens(2, 3, 20, C), tokens(2, 20, C, seed=1)
    value = memory.value(cache)[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        memory.bias.fill_(100)
    torch.testing.assert_close(memory.read(x, cache, SIZE), value, rtol=0, atol=1e-5)
    with torch.no_grad():
        memory.bias.copy_(torch.tensor([-100.0, 100.0, -100.0]))
    one = memory.read(x, cache, SIZE).unflatten(-1, (HEADS, -1))
    assert not one[..., 0, :].any()
    assert one[..., 1, :].abs().max() > 0.1


def test_the_gate_depends_on_the_query() -> None:
    torch.manual_seed(0)
    memory = AttentionMemory(C, HEADS)
    cache = tokens(1, 20, C, seed=1)
    first, second = (
        memory.read(tokens(1, 1, 20, C, seed=n), cache, SIZE) for n in (0, 2)
    )
    assert (first - second).abs().max() > 1e-3


def test_the_update_moves_the_cache_and_mixes() -> None:
    torch.manual_seed(0)
    memory = AttentionMemory(C, HEADS)
    assert memory.flow is not None
    constant_flow(memory.flow, [(1.0, 0.0)] * HEADS)
    x, cache = tokens(1, 2, 20, C), tokens(1, 20, C, seed=1)
    maps = cache.unflatten(1, SIZE)
    moved = torch.cat((maps[:, :, 1:], maps[:, :, -1:]), dim=2).flatten(1, 2)
    with torch.no_grad():
        memory.gate.weight.zero_()
        for bias, wanted in ((-100.0, moved), (100.0, memory.norm(x[:, -1]))):
            memory.gate.bias.fill_(bias)
            torch.testing.assert_close(
                memory.update(x, cache, SIZE), wanted, rtol=0, atol=1e-5
            )


def test_the_memory_cannot_grow() -> None:
    torch.manual_seed(0)
    memory = AttentionMemory(C, HEADS)
    cache = None
    with torch.no_grad():
        for n in range(30):
            cache = memory.update(1e3 * tokens(1, 2, 20, C, seed=n), cache, SIZE)
            assert cache.shape == (1, 20, C)
            assert cache.abs().max() <= C**0.5  # of a normalised token
