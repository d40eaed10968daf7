"""Spatio-temporal joint distillation: a diffusion model scores restored clips.

UltraVSR (arXiv 2505.19958) trains its one-step generator with two "temporal regularised
UNets", both with temporal modules: the *real* one knows clean videos, the *fake* one is
trained along and knows what the generator makes. Where they disagree about a noised
output is where the output should move. The equations are not public and neither is the
training code; what is here is variational score distillation in the form of OSEDiff (Wu
et al., NeurIPS 2024), which UltraVSR is built on, with the paper's two parts:

* *content*: the gradient that each frame gets, as in OSEDiff;
* *temporal consistency*: the same for what changes from one frame to the next. The loss
  is a square, so this part says that differences between frames, too, should be as the
  real UNet wants them. It is our reading of the paper's two gradient losses.

Timesteps are sampled one per clip, so that noise levels agree between frames, and noise
is sampled for each frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Predicts noise: takes noisy latents (N·T, C, h, w) and timesteps (N·T,)."""

LOWEST_STEP, HIGHEST_STEP = 20, 980
"""Of 1000; timesteps are sampled from between, as in OSEDiff."""
_LEAST = 1e-6


@dataclass(frozen=True)
class Noised:
    """Latents of clips after some steps of diffusion."""

    z: Tensor
    """(N·T, C, h, w)."""
    noise: Tensor
    """The same shape."""
    timestep: Tensor
    """(N·T,) int64, one value for all frames of a clip."""
    alpha_bar: Tensor
    """(N·T, 1, 1, 1)."""

    def clean(self, noise: Tensor) -> Tensor:
        """The clean latents that a prediction of the noise means."""
        return (self.z - (1 - self.alpha_bar).sqrt() * noise) / self.alpha_bar.sqrt()


def add_noise(
    latents: Tensor, frames: int, alphas_cumprod: Tensor, generator: torch.Generator
) -> Noised:
    """Diffuse clips to random timesteps.

    Args:
        latents: (N·T, C, h, w), scaled.
        frames: T.
        alphas_cumprod: (1000,), ᾱ.
        generator: the only source of randomness, on the CPU.
    """
    clips = len(latents) // frames
    timestep = torch.randint(
        LOWEST_STEP, HIGHEST_STEP + 1, (clips,), generator=generator
    ).repeat_interleave(frames)
    noise = torch.randn(latents.shape, generator=generator)
    noise = noise.to(latents.device, latents.dtype)
    timestep = timestep.to(latents.device)
    alpha_bar = alphas_cumprod.to(latents)[timestep][:, None, None, None]
    z = alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise
    return Noised(z, noise, timestep, alpha_bar)


@dataclass(frozen=True)
class Distillation:
    """The two losses, scalars; their gradients reach the generator's latents alone."""

    content: Tensor
    temporal: Tensor
    """0 for clips of one frame."""


def distillation_losses(
    latents: Tensor,
    frames: int,
    real: Denoiser,
    fake: Denoiser,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
) -> Distillation:
    """What the generator is to lower.

    Args:
        latents: (N·T, C, h, w), what the generator made, scaled.
        frames: T.
        real: the frozen UNet of clean videos, with guidance.
        fake: the UNet of the generator's videos.
        alphas_cumprod: (1000,), ᾱ.
        generator: the only source of randomness.
    """
    with torch.no_grad():
        noised = add_noise(latents, frames, alphas_cumprod, generator)
        wanted = noised.clean(real(noised.z, noised.timestep))
        believed = noised.clean(fake(noised.z, noised.timestep))
        direction = believed - wanted
        distance = (latents - wanted).abs().mean((-3, -2, -1)).clamp_min(_LEAST)
    content = _towards(latents, direction / distance[:, None, None, None])
    if frames < 2:
        return Distillation(content, torch.zeros_like(content))
    # in units of the clip's distance: differences between frames may already be right
    clip = distance.reshape(-1, frames).mean(1)[:, None, None, None, None]
    turn = _changes(direction, frames) / clip
    return Distillation(content, _towards(_changes(latents, frames), turn))


def fake_loss(
    latents: Tensor,
    frames: int,
    fake: Denoiser,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """What the fake UNet is to lower: plain denoising of the generator's latents.

    The arguments are those of `distillation_losses`; latents are detached here.
    """
    noised = add_noise(latents.detach(), frames, alphas_cumprod, generator)
    return F.mse_loss(fake(noised.z, noised.timestep), noised.noise)


def _towards(x: Tensor, direction: Tensor) -> Tensor:
    """A loss whose gradient is ``direction`` over the number of values."""
    return 0.5 * (x - (x - direction).detach()).square().mean()


def _changes(x: Tensor, frames: int) -> Tensor:
    """(N·T, C, h, w) to the differences of neighbours, (N, T - 1, C, h, w)."""
    return x.reshape(-1, frames, *x.shape[1:]).diff(dim=1)
