"""UltraVSR: a pretrained diffusion model that restores a video in one step.

Paper: Liu et al., "UltraVSR: Achieving Ultra-Realistic Video Super-Resolution with
Efficient One-Step Diffusion Space", ACM MM 2025, arXiv 2505.19958. The authors' code
(github.com/yongliuy/UltraVSR, commit f367276, inference only) is Apache-2.0; this is an
own implementation with their parameter names. Stable Diffusion 2.1-base, which theirs
starts from, is under CreativeML Open RAIL++-M.

::

    frames ─ ×4 bicubic ─ encoder ─ z_LR ─ UNet(z_LR, t) = ε ─ z_HR ─ decoder ─ colours

Degradation-aware restoration: an estimator estimates how clean the upsampled frames
are, s in [0, 1]. d = s² takes the place of ᾱ: the latent of the low-resolution frame
counts as the high-resolution one after t steps of diffusion, t = argmin |d - ᾱ_t|, so
that one prediction of the noise leads back: z_HR = (z_LR - √(1-d) ε) / √d. No noise is
added.

Temporal modules (`upframe.systems.ultravsr.rts`) stand after each down block of the
UNet (behind the skip connections, which stay as they are), before each of its up
blocks, and before each up block of the decoder; none in the middle block and in the
encoder.

Where the paper and the code are silent or unfit, this was chosen:

* d is kept within the schedule's ᾱ: an estimate near 0 would divide by almost nothing.
* The estimator looks at frames 0, 2, 4, 6 and 8. The authors take every tenth frame of
  a clip they know to its end, and fail on clips of fewer than ten; what is estimated
  here from the beginning is the same for streams and for whole clips.
* By default the estimator is a small network
  (`upframe.systems.ultravsr.degradation_estimator`) instead of CLIP-IQA, which needs a
  CLIP of 400 MB.
* The encoder's latent is sampled, as the authors do, with noise that depends on the
  seed and the number of the frame alone.
* Sides that are no multiples of the autoencoder's factor are padded by their edge and
  cut again; the authors resize the frames, and lose the pixels.
* Any autoencoder with the attributes of diffusers' ``AutoencoderKL`` fits; the small
  systems have `upframe.systems.diffusion.autoencoder`.
* The prompt is empty unless one is given. The authors tag each frame with RAM and DAPE,
  which are not part of this project; embeddings per frame can be passed in.

Only `RTSConv`, `RTSAttention`, `RecurrentTemporalShift` and `UltraVSR` on components
that exist already need nothing but torch; building the components needs diffusers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.errors import RuntimeFailure, WeightsError
from upframe.nn.images import colour_fixes, require_finite, upsample
from upframe.nn.layout import channels_last
from upframe.nn.noise import frame_noise
from upframe.systems.diffusion.autoencoder import factor_of
from upframe.systems.ultravsr.backbones import (
    decoder_stages,
    needs_text,
    place_in_unet,
    place_in_vae,
    unet_stages,
)
from upframe.systems.ultravsr.rts import RecurrentTemporalShift, RTSAttention, RTSConv
from upframe.systems.ultravsr.stages import Carried

__all__ = [
    "OPENING",
    "Estimator",
    "RTSAttention",
    "RTSConv",
    "RecurrentTemporalShift",
    "Step",
    "UltraVSR",
    "restoration_step",
    "sampled_frames",
]

# Shape letters: N clips, T frames, B = N·T, C channels, H W size of the output,
# h w size of the latent, L D length and width of the text embedding.

_SAMPLED = 5
_EVERY = 2
OPENING = _EVERY * (_SAMPLED - 1) + 1
"""Frames of a video that must be there before the estimator runs."""


class Estimator(Protocol):
    """Estimates how clean images are."""

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B,) in [0, 1], 1 for clean."""


@dataclass(frozen=True)
class Step:
    """Where on the diffusion's schedule each clip is taken to be."""

    timestep: Tensor
    """(N,) int64."""
    alpha_bar: Tensor
    """(N,) float32, d in the paper."""

    def restore(self, z: Tensor, noise: Tensor) -> Tensor:
        """The clean latent, (B, C, h, w) float32, from z_LR and the predicted noise."""
        d = self.alpha_bar.repeat_interleave(len(z) // len(self.alpha_bar))
        d = d[:, None, None, None].to(z.device)
        return (z.float() - (1 - d).sqrt() * noise.float()) / d.sqrt()


def restoration_step(factor: Tensor, alphas_cumprod: Tensor) -> Step:
    """Place clips on the schedule by how clean they are.

    Args:
        factor: (N,), s in [0, 1], 1 for clean.
        alphas_cumprod: (timesteps,), ᾱ, falling.

    Raises:
        RuntimeFailure: a factor is not a number.
    """
    require_finite(factor, "The estimate of the degradation")
    alphas = alphas_cumprod.to(factor.device, torch.float32)
    d = factor.float().clamp(0, 1).square().clamp(alphas.min(), alphas.max())
    return Step((d[:, None] - alphas[None]).abs().argmin(dim=1), d)


def sampled_frames(frames: int) -> list[int]:
    """Numbers of the frames that the estimator looks at, in a clip of so many."""
    return list(range(0, min(frames, _SAMPLED * _EVERY), _EVERY))


class UltraVSR(nn.Module):
    """The whole system on whole clips; the reference for every other way to run it.

    Args:
        unet: diffusers' ``UNet2DConditionModel``; predicts noise. Temporal modules are
            added where it has none.
        vae: diffusers' ``AutoencoderKL`` or our ``Autoencoder``; likewise.
        alphas_cumprod: (timesteps,), ᾱ of the schedule that the UNet was trained with.
        estimator: estimates how clean frames are; None where factors are always given.
        text: (1, L, D), the embedding of the prompt; None for a UNet without text.
        scale: output size over input size.
        colours: correction of the result, a name in `colour_fixes`, where none is given
            for.

    Raises:
        WeightsError: the components do not fit each other.
    """

    alphas_cumprod: Tensor
    text: Tensor | None

    def __init__(
        self,
        unet: Any,
        vae: Any,
        alphas_cumprod: Tensor,
        *,
        estimator: Estimator | None = None,
        text: Tensor | None = None,
        scale: int = 4,
        colours: str = "wavelet",
    ) -> None:
        super().__init__()
        if unet.config.in_channels != vae.config.latent_channels:
            raise WeightsError(
                f"The UNet works on latents of {unet.config.in_channels} channels, the "
                f"autoencoder makes {vae.config.latent_channels}.",
                "Take both from the same model.",
            )
        if needs_text(unet):
            _check_text(text, unet.config.cross_attention_dim)
        if not hasattr(unet, "video_down_RTS_blocks"):
            place_in_unet(unet)
        if not hasattr(vae.decoder, "video_up_RTS_blocks"):
            place_in_vae(vae)
        channels_last(unet)
        channels_last(vae)
        self.unet = unet
        self.vae = vae
        self.estimator = estimator
        self.scale = scale
        self.colours = colours
        self.factor = factor_of(vae)
        """Image size over latent size."""
        self.register_buffer("alphas_cumprod", alphas_cumprod.float(), persistent=False)
        kept = text if needs_text(unet) else None
        self.register_buffer("text", kept, persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the networks work in; latents and images are float32."""
        dtype: torch.dtype = next(self.unet.conv_in.parameters()).dtype
        return dtype

    def forward(
        self,
        frames: Tensor,
        factor: Tensor | None = None,
        *,
        seed: int = 0,
        first_index: int = 0,
        colours: str | None = None,
    ) -> Tensor:
        """Restore whole clips at once; memory grows with T.

        Args:
            frames: (N, T, 3, h, w), RGB in [0, 1], any h and w.
            factor: (N,), how clean the clips are; None to ask the estimator.
            seed: of the noise of the latents.
            first_index: number of the first frame in its video.
            colours: a name in `colour_fixes`; None for the model's own.

        Returns:
            (N, T, 3, scale · h, scale · w), float32 in [0, 1].

        Raises:
            RuntimeFailure: a network gave something that is no number.
        """
        clips, count = frames.shape[:2]
        big = upsample(frames.flatten(0, 1).float(), self.scale)
        if factor is None:
            factor = torch.stack(
                [
                    self.estimate(clip[sampled_frames(count)])
                    for clip in torch.split(big, count)
                ]
            )
        step = restoration_step(factor, self.alphas_cumprod)
        z = self.encode(
            big, list(range(first_index, first_index + count)) * clips, seed
        )
        z = self.restore(z, step, count)
        out = self.decode(z, count, (big.shape[-2], big.shape[-1]))
        fix = colour_fixes[colours or self.colours]
        out = fix(out.clamp(0, 1), big).clamp(0, 1)
        return out.reshape(clips, count, *out.shape[1:])

    def estimate(self, images: Tensor) -> Tensor:
        """How clean a clip is, scalar in [0, 1].

        Args:
            images: (B, 3, H, W), its frames at `sampled_frames`, upsampled, in [0, 1].

        Raises:
            RuntimeFailure: there is no estimator.
        """
        if self.estimator is None:
            raise RuntimeFailure(
                "This UltraVSR has no estimator of the degradation.",
                "Give the factor of each clip, or build it with an estimator.",
            )
        return self.estimator(images).float().mean()

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents, unscaled, float32.

        Args:
            images: (B, 3, H, W) in [0, 1]; padded by their edge where needed.
        """
        down, right = (-side % self.factor for side in images.shape[-2:])
        x = F.pad(images, (0, right, 0, down), mode="replicate") * 2 - 1
        posterior = self.vae.encode(x.to(self.dtype)).latent_dist
        return posterior.mean.float(), posterior.std.float()

    def encode(self, images: Tensor, indices: list[int], seed: int) -> Tensor:
        """Latents (B, C, h, w) of images (B, 3, H, W) in [0, 1]; scaled, float32.

        Args:
            images: upsampled frames.
            indices: their numbers in the video.
            seed: of the noise.
        """
        return self.sample(*self.moments(images), indices, seed)

    def sample(
        self, mean: Tensor, std: Tensor, indices: list[int], seed: int
    ) -> Tensor:
        """Scaled latents from their moments, (B, C, h, w), float32."""
        noise = frame_noise(seed, indices, mean.shape[1:]).to(mean.device)
        latents: Tensor = (mean + std * noise) * self.vae.config.scaling_factor
        return latents

    def restore(
        self, z: Tensor, step: Step, frames: int, text: Tensor | None = None
    ) -> Tensor:
        """The one step of diffusion.

        Args:
            z: (N·T, C, h, w), latents of the upsampled frames.
            step: of the N clips.
            frames: T.
            text: (N·T, L, D), an embedding for each frame; None for the model's own.

        Returns:
            (N·T, C, h, w), float32.
        """
        timestep = step.timestep.repeat_interleave(len(z) // len(step.timestep))
        stages = unet_stages(self.unet, timestep.to(z.device))
        noise = stages(z.to(self.dtype), frames, self.carried(len(z), text))
        return step.restore(z, noise)

    def carried(self, count: int, text: Tensor | None = None) -> Carried:
        """What the UNet's first segment is given with ``count`` frames."""
        if self.text is None:
            return ()
        text = self.text.expand(count, -1, -1) if text is None else text
        return (text.to(self.dtype),)

    def decode(self, z: Tensor, frames: int, size: tuple[int, int]) -> Tensor:
        """Images (N·T, 3, \\*size) around [0, 1], not clipped, float32.

        Raises:
            RuntimeFailure: a network gave something that is no number.
        """
        z = (z / self.vae.config.scaling_factor).to(self.dtype)
        out = decoder_stages(self.vae)(z, frames)
        require_finite(out, "The decoded image")
        return out[..., : size[0], : size[1]].float() * 0.5 + 0.5


def _check_text(text: Tensor | None, width: int) -> None:
    if text is None:
        raise WeightsError(
            "This UNet attends to text, and no embedding of a prompt was given.",
            "Load the model's text encoder, or pass the embedding of an empty prompt.",
        )
    if text.dim() != 3 or text.shape[-1] != width:
        raise WeightsError(
            f"The UNet needs text embeddings (1, L, {width}), got {tuple(text.shape)}.",
            "Take the text encoder from the same model as the UNet.",
        )
