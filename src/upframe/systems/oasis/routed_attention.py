"""Attention over a video's tokens where each head sees as much as it needs.

Three kinds of heads (OASIS, arXiv 2509.23980; equations in
``systems/oasis/model.py``)::

    global   every token of the clip
    frame    the tokens of the query's own frame
    window   |t'-t| <= P_t/2, |h'-h| <= P_h/2, |w'-w| <= P_w/2 around the query

`masked_attention` is the plain reference: one softmax over all tokens under a mask of
N x N. `routed_attention` gives the same numbers and never forms that mask:

* frame heads are one batched call, frames beside heads, without a mask;
* window heads go tile by tile: the queries of a small box see the keys of the box grown
  by half a window, cut at the borders, and the few keys too far away are masked;
* on CUDA, window heads go through flex attention, whose kernel skips blocks.

Work grows with N² for global heads, N²/T for frame heads, N for window heads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import UsageError

# Shape letters: B batch, H heads, N = T * h * w tokens in the order (t, h, w), D
# channels of a head.

HeadKind = Literal["global", "frame", "window"]
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)

_TILE = (1, 8, 8)
"""Tokens of a box of queries. Small boxes waste fewer keys, large ones are better
matrix products; of those measured by benchmarks/routing, the fastest on a CPU."""

_BLOCK = 128
"""Tokens of a block of flex attention."""


class Grid(NamedTuple):
    """Tokens of a clip along its axes."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """N."""
        return self.frames * self.height * self.width


class Window(NamedTuple):
    """Tokens that a window spans along each axis; odd, so that it has a centre."""

    frames: int
    height: int
    width: int

    @property
    def radius(self) -> tuple[int, int, int]:
        """Tokens on either side of the centre."""
        return self.frames // 2, self.height // 2, self.width // 2


def check_window(window: Sequence[int]) -> Window:
    """Three odd numbers as a window.

    Raises:
        UsageError: they are not three, or not odd and positive.
    """
    if len(window) != 3 or any(side < 1 or side % 2 == 0 for side in window):
        raise UsageError(
            f"A window of {'x'.join(map(str, window))} tokens has no centre.",
            "Give frames, height and width as odd numbers, such as 3x9x9.",
        )
    return Window(*window)


def pattern_mask(
    kind: HeadKind, grid: Grid, window: Window, device: torch.device | None = None
) -> Tensor:
    """Which keys each query of a head sees.

    Returns:
        (N, N) bool, queries by keys.
    """
    everything = torch.arange(grid.tokens, device=device)
    return sees(kind, everything, grid, window)


def sees(kind: HeadKind, queries: Tensor, grid: Grid, window: Window) -> Tensor:
    """Which keys some of the queries see.

    Args:
        kind: of the head.
        queries: (Q,) numbers of tokens.
        grid: of all tokens.
        window: of window heads.

    Returns:
        (Q, N) bool.
    """
    keys = torch.arange(grid.tokens, device=queries.device)
    if kind == "global":
        return torch.ones(
            len(queries), len(keys), dtype=torch.bool, device=queries.device
        )
    return _near(queries[:, None], keys, grid, _reach(kind, grid, window))


def _reach(kind: HeadKind, grid: Grid, window: Window) -> tuple[int, int, int]:
    """How far a head looks along each axis."""
    return (0, grid.height, grid.width) if kind == "frame" else window.radius


def _near(q: Tensor, k: Tensor, grid: Grid, radius: tuple[int, int, int]) -> Tensor:
    """Whether tokens are within a radius of each other, by their numbers."""
    area = grid.height * grid.width
    in_time = (q // area - k // area).abs() <= radius[0]
    down = (q % area // grid.width - k % area // grid.width).abs() <= radius[1]
    across = (q % grid.width - k % grid.width).abs() <= radius[2]
    return in_time & down & across


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, kinds: Sequence[HeadKind], grid: Grid, win: Window
) -> Tensor:
    """The reference of `routed_attention`, with a mask of (H, N, N)."""
    mask = torch.stack([pattern_mask(kind, grid, win, q.device) for kind in kinds])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None])


def routed_attention(
    q: Tensor, k: Tensor, v: Tensor, kinds: Sequence[HeadKind], grid: Grid, win: Window
) -> Tensor:
    """Attention of heads of several kinds.

    Args:
        q: (B, H, N, D), with rotary embeddings applied.
        k: (B, H, N, D), likewise.
        v: (B, H, N, D).
        kinds: H kinds, in any order.
        grid: N tokens in order of frame, row, column.
        win: of the window heads; may be larger than the grid.

    Returns:
        (B, H, N, D), heads in their order.

    Raises:
        UsageError: heads or tokens are of another number.
    """
    if len(kinds) != q.shape[1] or grid.tokens != q.shape[2]:
        raise UsageError(
            f"Attention of {q.shape[1]} heads and {q.shape[2]} tokens does not fit "
            f"{len(kinds)} kinds and a grid of {'x'.join(map(str, grid))}.",
            "Use the routing that was made for this network.",
        )
    by_kind: dict[HeadKind, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "global": F.scaled_dot_product_attention,
        "frame": lambda q, k, v: frame_attention(q, k, v, grid),
        "window": lambda q, k, v: window_attention(q, k, v, grid, win),
    }
    if len(set(kinds)) == 1:
        return by_kind[kinds[0]](q, k, v)
    order: list[int] = []
    parts = []
    for kind in HEAD_KINDS:
        heads = [i for i, own in enumerate(kinds) if own == kind]
        if heads:
            parts.append(by_kind[kind](q[:, heads], k[:, heads], v[:, heads]))
            order += heads
    out = torch.cat(parts, dim=1)
    places = sorted(range(len(order)), key=order.__getitem__)
    return out if places == list(range(len(order))) else out[:, places]


def frame_attention(q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
    """Attention inside each frame; shapes as `routed_attention`."""
    shape = q.shape
    q, k, v = (_frames_as_heads(x, grid) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).reshape(shape)


def _frames_as_heads(x: Tensor, grid: Grid) -> Tensor:
    """(B, H, N, D) to (B, H * T, h * w, D), which moves nothing."""
    b, h, n, d = x.shape
    return x.reshape(b, h * grid.frames, n // grid.frames, d)


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: Grid, window: Window
) -> Tensor:
    """Attention inside a window around each query; shapes as `routed_attention`."""
    if all(2 * r + 1 >= 2 * n - 1 for r, n in zip(window.radius, grid, strict=True)):
        return F.scaled_dot_product_attention(q, k, v)
    if q.is_cuda:
        return _compiled_flex()(
            q, k, v, block_mask=window_blocks(grid, window, q.device)
        )
    return tiled_attention(q, k, v, grid, window, _TILE)


def tiled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: Grid,
    window: Window,
    tile: tuple[int, int, int],
) -> Tensor:
    """Window attention, box by box.

    Memory beside the result: the keys, values and the mask of one box.

    Args:
        q: (B, H, N, D).
        k: (B, H, N, D).
        v: (B, H, N, D).
        grid: of the N tokens.
        window: around each query.
        tile: tokens of a box along each axis; those at the far borders are smaller.
    """
    q, k, v = (x.reshape(*x.shape[:2], *grid, x.shape[-1]) for x in (q, k, v))
    times, rows, columns = (
        [_span(start, size, length, radius) for start in range(0, length, size)]
        for size, length, radius in zip(tile, grid, window.radius, strict=True)
    )
    return torch.cat(
        [
            torch.cat(
                [
                    torch.cat([_box(q, k, v, (t, y, x)) for x in columns], dim=4)
                    for y in rows
                ],
                dim=3,
            )
            for t in times
        ],
        dim=2,
    ).flatten(2, 4)


class _Span(NamedTuple):
    """Queries and the keys they may see, along one axis."""

    queries: slice
    keys: slice
    radius: int

    @property
    def pattern(self) -> tuple[int, int, int, int]:
        """What the mask depends on: it is the same for all boxes off the borders."""
        first = self.queries.start - self.keys.start
        queries = self.queries.stop - self.queries.start
        return first, queries, self.keys.stop - self.keys.start, self.radius


def _span(start: int, size: int, length: int, radius: int) -> _Span:
    stop = min(start + size, length)
    keys = slice(max(0, start - radius), min(length, stop + radius))
    return _Span(slice(start, stop), keys, radius)


def _box(q: Tensor, k: Tensor, v: Tensor, spans: tuple[_Span, _Span, _Span]) -> Tensor:
    """One box of queries of (B, H, T, h, w, D)."""
    t, y, x = spans
    queries = q[:, :, t.queries, y.queries, x.queries]
    keys = k[:, :, t.keys, y.keys, x.keys].flatten(2, 4)
    values = v[:, :, t.keys, y.keys, x.keys].flatten(2, 4)
    mask = _box_mask(t.pattern, y.pattern, x.pattern, q.device)
    out = F.scaled_dot_product_attention(queries.flatten(2, 4), keys, values, mask)
    return out.view(queries.shape)


@functools.lru_cache(maxsize=512)
def _box_mask(
    times: tuple[int, int, int, int],
    rows: tuple[int, int, int, int],
    columns: tuple[int, int, int, int],
    device: torch.device,
) -> Tensor | None:
    """(Q, K) bool of a box; None where every query sees every key."""
    axes = (times, rows, columns)
    if all(_sees_all(*axis) for axis in axes):
        return None
    # training may use a mask that inference has made
    with torch.inference_mode(False):
        t, y, x = (_axis_mask(*axis, device) for axis in axes)
        mask = (
            t[:, None, None, :, None, None]
            & y[None, :, None, None, :, None]
            & x[None, None, :, None, None, :]
        )
        return mask.reshape(len(t) * len(y) * len(x), -1)


def _sees_all(first: int, queries: int, keys: int, radius: int) -> bool:
    """Whether every query of an axis reaches every key."""
    return max(first + queries - 1, keys - 1 - first) <= radius


def _axis_mask(
    first: int, queries: int, keys: int, radius: int, device: torch.device
) -> Tensor:
    """(queries, keys) bool; the first query stands at key ``first``."""
    q = torch.arange(first, first + queries, device=device)[:, None]
    return (q - torch.arange(keys, device=device)).abs() <= radius


@functools.lru_cache(maxsize=16)
def window_blocks(grid: Grid, window: Window, device: torch.device) -> Any:
    """The window as a block mask of flex attention.

    Made row by row of blocks: torch's own ``create_block_mask`` compares all tokens
    with all, which takes gigabytes at 720p.
    """
    from torch.nn.attention.flex_attention import BlockMask

    def near(b: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del b, head
        return _near(query, key, grid, window.radius)

    n = grid.tokens
    rows = []
    for queries in torch.split(torch.arange(n, device=device), _BLOCK):
        seen = sees("window", queries, grid, window).any(0)
        rows.append(F.pad(seen, (0, -n % _BLOCK)).view(-1, _BLOCK).any(1))
    used = torch.stack(rows)[None, None]
    return BlockMask.from_kv_blocks(
        used.sum(-1, dtype=torch.int32),
        used.int().argsort(dim=-1, descending=True, stable=True).int(),
        BLOCK_SIZE=_BLOCK,
        mask_mod=near,
        seq_lengths=(n, n),
    )


@functools.cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return cast(Callable[..., Tensor], torch.compile(flex_attention, dynamic=False))
