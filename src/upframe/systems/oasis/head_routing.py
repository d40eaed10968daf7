"""Which heads of a video transformer need to see how much: measured, chosen, kept.

The test of OASIS compares a head's localised attention with its global attention by
their KL divergence. It needs no localised attention. Let p be a query's attention over
all keys and S the keys of a pattern. The softmax restricted to S is p renormalised::

    p_S(k) = p(k) / m  for k in S, else 0,    m = sum of p(k) over S

    KL(p_S || p) = sum over S of p_S(k) log(p_S(k) / p(k)) = log(1 / m) = -log m

so the divergence is minus the logarithm of the attention mass inside the pattern. The
other direction is infinite wherever a key outside S has any weight. And m comes from
two sums of exponentials::

    -log m = logsumexp of all logits - logsumexp of the logits in S
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from upframe.errors import UsageError, WeightsError
from upframe.systems.oasis.routed_attention import (
    Grid,
    HeadKind,
    Window,
    check_window,
    sees,
)

_LOGITS_AT_ONCE = 2**23
"""Numbers in one batch of logits: 32 MiB, and a few times that in work."""


def pattern_divergence(
    q: Tensor,
    k: Tensor,
    grid: Grid,
    window: Window,
    queries: Tensor,
    logits_at_once: int = _LOGITS_AT_ONCE,
) -> Tensor:
    """KL(attention inside a pattern || global attention), mean over queries.

    The logits of a few queries are there at a time, never N x N.

    Args:
        q: (B, H, N, D), normalised and with rotary embeddings.
        k: (B, H, N, D), likewise.
        grid: of the N tokens.
        window: of the second pattern.
        queries: (Q,) numbers of the tokens that ask.
        logits_at_once: numbers in one batch of logits.

    Returns:
        (2, H) float64, in nats: for the query's frame, and for the window around it.
    """
    b, heads, n, d = q.shape
    step = max(1, logits_at_once // (b * heads * n))
    sums = torch.zeros(2, heads, dtype=torch.float64, device=q.device)
    keys = k.float().transpose(-2, -1)
    for chosen in torch.split(queries.to(q.device), step):
        logits = q[:, :, chosen].float() @ keys * d**-0.5
        total = logits.logsumexp(-1)
        patterns: tuple[HeadKind, HeadKind] = ("frame", "window")
        for row, kind in zip(sums, patterns, strict=True):
            outside = ~sees(kind, chosen, grid, window)
            inside = logits.masked_fill(outside, -torch.inf).logsumexp(-1)
            row += (total - inside).double().sum((0, 2))
    return sums / (b * len(queries))


def spread_queries(tokens: int, most: int) -> Tensor:
    """Numbers of up to ``most`` tokens, evenly over all of them."""
    count = min(tokens, most)
    return (torch.arange(count) * tokens + tokens // 2) // count


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Divergence = Annotated[float, Field(ge=-1e-3)]
"""In nats; rounding can bring a mass of one a little above it."""


class LayerRouting(_Strict):
    """The heads of one layer."""

    heads: tuple[HeadKind, ...] = Field(min_length=1)
    kl_frame: tuple[Divergence, ...] | None = None
    """What was measured for each head; None where nothing was."""
    kl_window: tuple[Divergence, ...] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> LayerRouting:
        for measured in (self.kl_frame, self.kl_window):
            if measured is not None and len(measured) != len(self.heads):
                raise ValueError("each head has one divergence of each kind")
        return self

    def share(self, kind: HeadKind) -> float:
        """Heads of a kind over all heads."""
        return self.heads.count(kind) / len(self.heads)


class Calibration(_Strict):
    """On what the divergences were measured, and how heads were chosen."""

    weights: str
    """SHA-256 of the queries' and keys' weights."""
    clips: tuple[str, ...]
    tokens: tuple[int, int, int]
    """Frames, height, width of the largest clip, in tokens."""
    queries: int
    """Of each clip and layer."""
    threshold: float
    """Largest divergence of a head that does not stay global."""


class Routing(_Strict):
    """The routing file."""

    version: Literal[1] = 1
    architecture: str
    """Of the transformer it belongs to; see ``systems.oasis.architecture``."""
    window: tuple[int, int, int]
    """Tokens: frames, height, width."""
    layers: tuple[LayerRouting, ...] = Field(min_length=1)
    calibration: Calibration | None = None
    """None where heads were not chosen by measurement."""

    @model_validator(mode="after")
    def _has_a_centre(self) -> Routing:
        try:
            check_window(self.window)
        except UsageError as error:
            raise ValueError(error.message) from error
        return self

    def share(self, kind: HeadKind) -> float:
        """Heads of a kind over all heads of all layers."""
        heads = [head for layer in self.layers for head in layer.heads]
        return heads.count(kind) / len(heads)

    def save(self, path: Path) -> None:
        """Write the file; see :meth:`load`."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Routing:
        """Read a routing file.

        Raises:
            WeightsError: it is missing, damaged, or of another version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise WeightsError(
                f"The routing file {path} cannot be read: {error.strerror}.",
                "Make one with upframe calibrate.",
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise WeightsError(
                f"The routing file {path} is not valid: {where}: {first['msg']}.",
                "Make it again with upframe calibrate.",
            ) from error


def choose_heads(divergences: Tensor, threshold: float) -> tuple[LayerRouting, ...]:
    """Give each head the pattern that it keeps to, if there is one.

    Args:
        divergences: (L, 2, H) from `pattern_divergence`, of each layer.
        threshold: in nats, at least 0. A head whose smaller divergence is above it
            stays global; of two equal ones frame is taken.

    Returns:
        The layers.

    Raises:
        UsageError: the threshold is negative.
    """
    if not threshold >= 0:
        raise UsageError(
            f"A threshold of {threshold} nats is invalid.",
            "0 keeps all heads global; 0.25 asks for 78% of the attention.",
        )
    layers = []
    for layer in divergences:
        frame, window = layer.tolist()
        layers.append(
            LayerRouting(
                heads=tuple(
                    _kind(f, w, threshold) for f, w in zip(frame, window, strict=True)
                ),
                kl_frame=tuple(round(value, 6) for value in frame),
                kl_window=tuple(round(value, 6) for value in window),
            )
        )
    return tuple(layers)


def _kind(frame: float, window: float, threshold: float) -> HeadKind:
    if min(frame, window) > threshold:
        return "global"
    return "frame" if frame <= window else "window"


def threshold_for(divergences: Tensor, local_share: float) -> float:
    """The threshold with which a share of all heads becomes local.

    Args:
        divergences: (L, 2, H).
        local_share: 0 to 1; rounded to whole heads.

    Raises:
        UsageError: it is no share.
    """
    if not 0 <= local_share <= 1:
        raise UsageError(
            f"A share of {local_share} is invalid.",
            "It is the share of heads that are not global, 0 to 1.",
        )
    smaller = divergences.amin(1).flatten().sort().values
    count = round(local_share * len(smaller))
    if count == 0:
        # below the smallest, though no divergence is below zero
        return 0.0
    return max(0.0, float(smaller[count - 1]))
