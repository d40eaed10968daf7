"""What LiftVSR is trained by: segments that follow one another, noise to be predicted.

Each segment of a clip has a time of diffusion of its own, so that the cache is read at
another level of noise than it was written at, as in sampling (asymmetric sampling; see
`upframe.systems.liftvsr`). Gradients go through the cache from segment to segment. The
variance that PixArt's head predicts is not trained, as in the paper's loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from upframe.systems.liftvsr.temporal_attention import (
    DynamicTemporalAttention,
    warp_heads,
)
from upframe.systems.liftvsr.transformer import (
    Cache,
    LiftTransformer,
    implied_noise,
    noise_levels,
)

# Shape letters: B clips, T frames, D h w channels and size of a latent, H heads.


@dataclass(frozen=True)
class Segment:
    """Frames that are seen together, as the network gets them."""

    noisy: Tensor
    """(B, T, D, h, w)."""
    condition: Tensor
    """The same shape, latents of the degraded frames."""
    times: Tensor
    """(B,) int64."""


def draw_times(
    clips: int,
    segments: int,
    generator: torch.Generator | None = None,
    *,
    times: int = 1000,
) -> Tensor:
    """A time for each segment of each clip, independent of one another.

    Args:
        clips: B.
        segments: S.
        generator: on the CPU; None for torch's own.
        times: of the schedule.

    Returns:
        (B, S) int64, 0 to times - 1, on the CPU.
    """
    return torch.randint(times, (clips, segments), generator=generator)


def predict_noise(
    transformer: LiftTransformer, segments: Sequence[Segment], prompt: Tensor
) -> list[Tensor]:
    """The noise of segments in order, (B, T, D, h, w) each, the cache carried."""
    cache: Cache = ()
    out: list[Tensor] = []
    for n, segment in enumerate(segments):
        predicted, cache = transformer(
            segment.noisy,
            segment.condition,
            segment.times.to(segment.noisy.device),
            prompt,
            cache,
            remember=n + 1 < len(segments),
        )
        out.append(predicted[:, :, : segment.noisy.shape[2]].float())
    return out


def add_noise(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Latents (B, T, D, h, w) at times (B,) of the diffusion."""
    level = levels_at(times, clean)
    return level.sqrt() * clean + (1 - level).sqrt() * noise


def clean_from(segment: Segment, noise: Tensor) -> Tensor:
    """What lies under the noise that was predicted, (B, T, D, h, w)."""
    level = levels_at(segment.times, noise)
    return (segment.noisy - (1 - level).sqrt() * noise) / level.sqrt()


def true_noise(segment: Segment, clean: Tensor) -> Tensor:
    """The prediction from which `clean_from` gives ``clean``, (B, T, D, h, w)."""
    level = noise_levels().to(clean.device)[segment.times.to(clean.device)]
    return implied_noise(segment.noisy, clean, level)


def levels_at(times: Tensor, like: Tensor) -> Tensor:
    """ᾱ at times (B,), to be multiplied with (B, T, D, h, w)."""
    levels = noise_levels().to(like.device)[times.to(like.device)]
    return levels.view(-1, 1, 1, 1, 1)


@contextmanager
def watched_flows(transformer: LiftTransformer) -> Iterator[list[Tensor]]:
    """Keep the token flows of frames to frames that a forward pass makes.

    Yields:
        A list that gets (B, T, H, 2, h, w) for each branch of each segment and each of
        its frames in turn, from that frame to all; where a cache is read, nothing.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, flow: Tensor) -> None:
        del module, inputs
        seen.append(flow)

    handles = [
        module.flow.register_forward_hook(keep)
        for module in transformer.modules()
        if isinstance(module, DynamicTemporalAttention) and module.flow is not None
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def alignment_loss(flows: Sequence[Tensor], clips: Sequence[Tensor]) -> Tensor:
    """How far images are from one another after the token flows have moved them.

    Not in the paper. The restored frames hold little about where a token should come
    from before the branch works; the images do from the first step on.

    Args:
        flows: what `watched_flows` kept, each reference frame beside its clip.
        clips: (B, T, C, h, w), the segments, as small as the tokens.

    Returns:
        Mean absolute difference, scalar; zero where there are no flows.
    """
    lengths = [clip.shape[1] for clip in clips]
    rounds = len(flows) // sum(lengths)
    losses: list[Tensor] = []
    rest = iter(flows)
    for clip in clips:
        for _ in range(rounds):
            for frame, flow in zip(range(clip.shape[1]), rest, strict=False):
                heads = flow.shape[2]
                maps = clip[:, :, None].expand(-1, -1, heads, -1, -1, -1)
                gap = warp_heads(maps, flow) - maps[:, frame, None]
                losses.append(gap.abs().mean())
    return torch.stack(losses).mean() if losses else clips[0].new_zeros(())
