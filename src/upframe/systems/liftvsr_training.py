"""What LiftVSR is trained by: noise prediction on segments that follow one another.

Each segment of a clip has a time of diffusion of its own, so that the cache is read at
another level of noise than it was written at, as in sampling (asymmetric sampling; see
`upframe.systems.liftvsr`). Gradients go through the cache from segment to segment. The
variance that PixArt's head predicts is not trained, as in the paper's loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from upframe.systems.liftvsr_transformer import Cache, LiftTransformer


def draw_times(
    clips: int, segments: int, generator: torch.Generator, *, times: int = 1000
) -> Tensor:
    """A time for each segment of each clip, independent of one another.

    Args:
        clips: B.
        segments: S.
        generator: on the processor.
        times: of the schedule.

    Returns:
        (B, S) int64, 0 to times - 1, on the processor.
    """
    return torch.randint(times, (clips, segments), generator=generator)


def noise_loss(
    transformer: LiftTransformer,
    clean: Tensor,
    condition: Tensor,
    noise: Tensor,
    times: Tensor,
    prompt: Tensor,
    alphas_cumprod: Tensor,
) -> Tensor:
    """Mean squared error of the predicted noise over segments in order.

    Args:
        transformer: to train.
        clean: (B, S, T, D, h, w), latents of what is to be restored, in S segments.
        condition: the same shape, latents of the degraded frames.
        noise: the same shape, standard normal.
        times: (B, S), as `draw_times` gives them.
        prompt: (1, L, K).
        alphas_cumprod: (times,), ᾱ of the schedule.

    Returns:
        Scalar, float32.
    """
    levels = alphas_cumprod.to(clean.device)[times.to(clean.device)]
    signal = levels.view(*times.shape, 1, 1, 1, 1)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    cache: Cache = ()
    losses: list[Tensor] = []
    segments = clean.shape[1]
    for n in range(segments):
        predicted, cache = transformer(
            noisy[:, n],
            condition[:, n],
            times[:, n].to(clean.device),
            prompt,
            cache,
            remember=n + 1 < segments,
        )
        predicted = predicted[:, :, : clean.shape[3]].float()
        losses.append((predicted - noise[:, n]).square().mean())
    return torch.stack(losses).mean()
