"""The stages of a small UltraVSR: prior, estimator, and the one-step system.

The paper (arXiv 2505.19958) starts from Stable Diffusion; a small one has to make its
own start:

1. `PriorTask`: a diffusion model of clean images, in the latents of the small
   autoencoder. diffusers' UNet of one level, without attention and text: all of its few
   parameters work at the resolution of the latents, and what eight pixels are apart are
   neighbours there already.
2. `EstimatorTask`: estimates how clean a clip is, by the target of
   `upframe.systems.ultravsr.training.degradation_factor`.
3. `UltraVSRTask`: both, frozen or as a start, with temporal modules, trained to restore
   in one step. `rts: false` leaves the temporal modules without effect, to train the
   part that looks at single frames first.

What the paper is silent about, or a small system needs, was chosen:

* Latents are compared with those that the untouched encoder makes of the original, in
  their absolute difference. What is decoded is compared by the losses of the recipe.
* `rank: null` trains all weights of UNet and encoder instead of LoRA; the prior of so
  few parameters is a start and may change.
* `decoder: true` trains the decoder along, which the paper keeps frozen: a decoder of
  few parameters that knows clean latents alone makes blurred images of what one step
  is not sure about.
* `colours` is what the shipped system does to its images. Training compares what the
  decoder gives; correcting that by the degraded frames, as the authors do, brings back
  some of the damage (docs/models/ultravsr.md).
* `change_weight` is for what changes from frame to frame: the differences of neighbours
  in latents and in decoded images should be those of the original. `warp_weight` is
  for what moves with the original and yet does not stay the same
  (`upframe.training.consistency`).
* Joint distillation and the temporal discriminator (`ultravsr_judges`) are off unless
  they are given a weight; they cost two to three times the step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.errors import MissingExtraError, WeightsError
from upframe.nn.images import upsample
from upframe.systems.diffusion.training import clean_latents, read_autoencoder
from upframe.systems.training_step import StepResult
from upframe.systems.ultravsr.adapters import is_temporal, merge_lora, prepare_training
from upframe.systems.ultravsr.configuration import (
    TIMESTEPS,
    UltraVSRSizes,
    build_ultravsr,
)
from upframe.systems.ultravsr.degradation_estimator import DegradationEstimator
from upframe.systems.ultravsr.model import restoration_step, sampled_frames
from upframe.systems.ultravsr.training.degradation_factor import latent_correlation
from upframe.systems.ultravsr.training.discriminators import (
    ClipDiscriminator,
    JointDistillation,
)
from upframe.systems.ultravsr.training.distillation import add_noise
from upframe.training.consistency import warping_loss
from upframe.training.stages import part_of
from upframe.weights.checkpoints import read_checkpoint

_SCALE = 4


@dataclass(frozen=True)
class PriorSizes:
    """Sizes of the UNet."""

    width: int = 96
    """Channels of all layers."""
    layers: int = 2
    """Residual blocks on the way down; one more goes up, and one is in the middle."""
    embedding: int = 128
    """Width of the embedding of timesteps."""
    groups: int = 16
    """Of the normalisation; divides the width."""

    def arguments(self, channels: int) -> dict[str, Any]:
        """Those of diffusers' ``UNet2DConditionModel``, for latents of so many
        channels."""
        return {
            "in_channels": channels,
            "out_channels": channels,
            "block_out_channels": [self.width],
            "layers_per_block": self.layers,
            "down_block_types": ["DownBlock2D"],
            "mid_block_type": "UNetMidBlock2D",
            "up_block_types": ["UpBlock2D"],
            "norm_num_groups": self.groups,
            "time_embedding_dim": self.embedding,
        }


class PriorTask(nn.Module):
    """Learns to predict the noise in diffused latents of clean images.

    Args:
        autoencoder: file of the frozen autoencoder.
        sizes: fields of `PriorSizes` that differ.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: the file holds no autoencoder.
    """

    alphas_cumprod: Tensor

    def __init__(self, autoencoder: str, **sizes: int) -> None:
        super().__init__()
        try:
            from diffusers import DDPMScheduler, UNet2DConditionModel
        except ImportError as error:
            raise MissingExtraError("The prior of UltraVSR", "diffusion") from error
        self.autoencoder = read_autoencoder(Path(autoencoder))
        self.config = self.autoencoder.config
        self.unet: Any = UNet2DConditionModel(
            **PriorSizes(**sizes).arguments(self.config.latent_channels)
        )
        first, last = UltraVSRSizes.model_fields["betas"].default
        schedule = DDPMScheduler(
            TIMESTEPS, beta_start=first, beta_end=last, beta_schedule="scaled_linear"
        )
        alphas = schedule.alphas_cumprod
        self.register_buffer("alphas_cumprod", alphas, persistent=False)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Mean squared error of the noise, at timesteps sampled for each image.

        Args:
            low: is not looked at.
            high: (B, 3, H, W) in [0, 1].
        """
        del low
        clean = clean_latents(self.autoencoder, high)
        noised = add_noise(clean, 1, self.alphas_cumprod, torch.default_generator)
        predicted = self.unet(noised.z, noised.timestep, None).sample
        return StepResult(None, high, {"noise": F.mse_loss(predicted, noised.noise)})


class EstimatorTask(nn.Module):
    """Learns how much of the clean latent a degraded one still holds.

    Args:
        autoencoder: file of the frozen autoencoder.
        width: of `DegradationEstimator`.
        levels: likewise.
    """

    def __init__(self, autoencoder: str, width: int = 16, levels: int = 4) -> None:
        super().__init__()
        self.autoencoder = read_autoencoder(Path(autoencoder))
        self.estimator = DegradationEstimator(width, levels)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Squared error of the factor, frame by frame.

        Args:
            low: (B, T, 3, h, w) in [0, 1], degraded.
            high: (B, T, 3, 4h, 4w).
        """
        images = upsample(low.flatten(0, 1), _SCALE)
        pair = high.flatten(0, 1), images
        target = latent_correlation(*(clean_latents(self.autoencoder, x) for x in pair))
        error = F.mse_loss(self.estimator(images), target)
        return StepResult(None, high, {"factor": error})


class UltraVSRTask(nn.Module):
    """Learns to restore clips in one step.

    Args:
        autoencoder: file of the autoencoder.
        prior: checkpoint of a `PriorTask`.
        estimator: checkpoint of an `EstimatorTask`.
        rank: of the LoRA in UNet and encoder; None to train all their weights.
        rts: whether temporal modules are trained; else they have no effect.
        spatial: whether anything else is trained; else all looks at single frames as it
            did before, and the gain of temporal modules can be measured.
        decoder: whether the decoder's own weights are trained, too.
        colours: correction of the shipped system's images; see `UltraVSR`.
        latent_weight: of the difference of latents.
        change_weight: of the difference of what changes between frames.
        warp_weight: of the difference of frames that are moved along the motion.
        content_weight: of the distillation of each frame.
        temporal_weight: of the distillation of what changes between frames.
        gan_weight: of the temporal discriminator.
        gan_channels: of its first layer.

    Raises:
        MissingExtraError: diffusers or, for LoRA, peft is not installed.
        WeightsError: a file does not hold what it should.
    """

    def __init__(
        self,
        autoencoder: str,
        prior: str,
        estimator: str,
        *,
        rank: int | None = None,
        rts: bool = True,
        spatial: bool = True,
        decoder: bool = False,
        colours: str = "wavelet",
        latent_weight: float = 1.0,
        change_weight: float = 0.0,
        warp_weight: float = 0.0,
        content_weight: float = 0.0,
        temporal_weight: float = 0.0,
        gan_weight: float = 0.0,
        gan_channels: int = 16,
    ) -> None:
        super().__init__()
        vae = read_autoencoder(Path(autoencoder))
        unet, unet_sizes = _stage(prior, "unet.", "recipes/ultravsr-nano-prior.yaml")
        estimates, estimator_sizes = _stage(
            estimator, "estimator.", "recipes/degradation-estimator-nano.yaml"
        )
        channels = vae.config.latent_channels
        self._configuration: dict[str, Any] = {
            "autoencoder": asdict(vae.config),
            "unet": PriorSizes(**unet_sizes).arguments(channels),
            "estimator": estimator_sizes,
            "colours": colours,
        }
        self.network = build_ultravsr(self._configuration)
        for part, state, what in (
            ("vae", vae.state_dict(), autoencoder),
            ("unet", unet, prior),
            ("estimator", estimates, estimator),
        ):
            _fill(self.network.get_submodule(part), state, what)
        self.network.requires_grad_(False)
        self.original = vae
        """The encoder as it was; gives the target latents."""
        self.distillation: JointDistillation | None = None
        if content_weight or temporal_weight:
            self.distillation = JointDistillation(
                self.network.unet, content_weight, temporal_weight
            )
        self.judge = ClipDiscriminator(gan_channels, gan_weight) if gan_weight else None
        self.latent_weight = latent_weight
        self.change_weight = change_weight
        self.warp_weight = warp_weight
        if spatial:
            self._choose(rank, decoder)
        for name, parameter in self.network.named_parameters():
            if is_temporal(name):
                parameter.requires_grad_(rts)

    def _choose(self, rank: int | None, decoder: bool) -> None:
        """What is trained beside temporal modules."""
        network = self.network
        if rank is None:
            network.unet.requires_grad_(True)
            network.vae.encoder.requires_grad_(True)
        else:
            prepare_training(network.unet, network.vae, rank)
        if decoder:
            network.vae.decoder.requires_grad_(True)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """The restored clips, and losses of latents; outside of training, of the whole
        system as it is shipped, the clips alone.

        Args:
            low: (B, T, 3, h, w) in [0, 1], degraded.
            high: (B, T, 3, 4h, 4w), sides multiples of the autoencoder's factor.
        """
        if not self.training:
            return StepResult(self.network(low), high)
        network, (clips, frames) = self.network, low.shape[:2]
        big = upsample(low.flatten(0, 1), _SCALE)
        with torch.no_grad():
            wanted = clean_latents(self.original, high.flatten(0, 1))
            seen = big.reshape(clips, frames, *big.shape[1:])[:, sampled_frames(frames)]
            factor = torch.stack([network.estimate(clip) for clip in seen])
        mean, std = network.moments(big)
        z = (mean + std * torch.randn_like(std)) * network.vae.config.scaling_factor
        step = restoration_step(factor, network.alphas_cumprod)
        z = network.restore(z, step, frames)
        out = network.decode(z, frames, (big.shape[-2], big.shape[-1]))
        images = out.reshape(clips, frames, *out.shape[1:])
        losses = {"latent": self.latent_weight * (z - wanted).abs().mean()}
        if self.change_weight and frames > 1:
            apart = _change_error(z.reshape(clips, frames, *z.shape[1:]), wanted)
            apart = apart + _change_error(images, high)
            losses["change"] = self.change_weight * apart
        if self.warp_weight and frames > 1:
            losses["warp"] = self.warp_weight * warping_loss(images, high)
        if self.distillation is not None:
            alphas = network.alphas_cumprod
            losses |= self.distillation.losses(z, wanted, frames, alphas)
        if self.judge is not None:
            losses |= self.judge.losses(images, high)
        return StepResult(images, high, losses)

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What ``build_ultravsr`` takes, and the weights for it."""
        network = copy.deepcopy(self.network)
        if any("lora" in name for name, _ in network.named_parameters()):
            merge_lora(network.unet)
            merge_lora(network.vae)
        return self._configuration, network.state_dict()


def _change_error(clips: Tensor, original: Tensor) -> Tensor:
    """How far what changes between frames is from what should: (N, T, C, H, W)."""
    wanted = original.reshape(clips.shape)
    return (clips.diff(dim=1) - wanted.diff(dim=1)).abs().mean()


def _stage(
    path: str, prefix: str, recipe: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of one part of a checkpoint, and the sizes that its recipe named."""
    checkpoint = read_checkpoint(Path(path))
    state = part_of(checkpoint.state, prefix)
    if not state or "autoencoder" not in checkpoint.declared:
        raise WeightsError(
            f"{path} is not the checkpoint of the stage that is needed here.",
            f"Train one with {recipe}.",
        )
    sizes = {k: v for k, v in checkpoint.declared.items() if k != "autoencoder"}
    return state, sizes


def _fill(part: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Load weights into what was built for them; temporal modules are not among
    them."""
    own = part.state_dict()
    wrong = [name for name in own if name not in state and not is_temporal(name)]
    wrong += [k for k, v in state.items() if k not in own or v.shape != own[k].shape]
    if wrong:
        raise WeightsError(
            f"{path} does not fit, for example in {wrong[0]}.",
            "Train it again with the sizes of its recipe.",
        )
    part.load_state_dict(state, strict=False)
