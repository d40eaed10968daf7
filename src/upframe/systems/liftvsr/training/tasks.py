"""LiftVSR in small: a prior of still images, then what makes it restore videos.

`PriorTask` trains a PixArt of our own to predict the noise on latents of images.
`LiftVSRTask` makes LiftVSR of it. Chosen for a network of half a million parameters
that is trained for minutes, in which it differs from the full size:

* All weights of the prior are trained, and its head begins at zero; there is no LoRA.
* The gain begins at one: the first prediction of what is clean is the degraded latent
  itself, at any time and from any noise, and the network learns what is to be added.
* Times are 0 to ``start``, half of them ``start`` itself, which is the sampler's first
  step. There the signal under the noise is the degraded latent, as in sampling; on the
  way to time 0 it goes over to the clean one.
* The sampler takes one step. Measured on the validation clips with the shipped weights,
  a second one costs half as much time again and gives nothing: LPIPS 0.591 instead of
  0.586 (2 frames of each clip, 100x80 of their middle), E*warp 3.06 instead of 2.08 (17
  frames, 96x72). From time 124 instead of 249 LPIPS is 0.631. With the colours of the
  input (wavelet) it was 0.593 instead of 0.591, in two steps. So the cache is written
  and read at the same time; in training each segment still has its own.
* Losses: of the noise, as in the paper; of the latents that follow from it, and of how
  they change from frame to frame; of how far token flows bring frames together; and
  those of the recipe on some frames, decoded.
* A clip is cut at random into two segments, and gradients go through the cache.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import PixArtTransformer2DModel
from torch import Tensor, nn

from upframe.nn.images import upsample
from upframe.systems.diffusion.autoencoder import Autoencoder
from upframe.systems.diffusion.training import clean_latents, read_autoencoder
from upframe.systems.liftvsr.files import LiftVSRConfig
from upframe.systems.liftvsr.model import LiftVSR
from upframe.systems.liftvsr.training.objective import (
    Segment,
    add_noise,
    alignment_loss,
    clean_from,
    draw_times,
    levels_at,
    predict_noise,
    true_noise,
    watched_flows,
)
from upframe.systems.training_step import StepResult
from upframe.training.stages import building, part_of
from upframe.weights.checkpoints import read_checkpoint

NANO_PIXART: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 16,
    "num_layers": 4,
    "patch_size": 1,
    "sample_size": 16,
    "cross_attention_dim": None,
}
"""The nano prior: a token for each latent, no prompts, images of 128 pixels."""


class PriorTask(nn.Module):
    """Learns to predict the noise on latents of images.

    Args:
        autoencoder: file of the frozen autoencoder.
        sizes: arguments of ``PixArtTransformer2DModel`` that differ from `NANO_PIXART`.

    Raises:
        WeightsError: the autoencoder cannot be read.
    """

    def __init__(self, autoencoder: str, **sizes: Any) -> None:
        super().__init__()
        self.vae = read_autoencoder(Path(autoencoder))
        self.pixart = _pixart(self.vae, sizes)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Mean squared error of the noise, at times of all the diffusion.

        Args:
            low: is not looked at.
            high: (B, 3, H, W) in [0, 1]; cut to multiples of the autoencoder's factor.
        """
        del low
        clean = clean_latents(self.vae, high)[:, None]
        times = draw_times(len(clean), 1)[:, 0].to(clean.device)
        noise = torch.randn_like(clean)
        noisy = add_noise(clean, noise, times)[:, 0]
        predicted = self.pixart(noisy, None, times, return_dict=False)[0]
        return StepResult(
            None, high, {"noise": (predicted - noise[:, 0]).square().mean()}
        )


class LiftVSRTask(nn.Module):
    """Learns to restore clips.

    Args:
        prior: checkpoint of a recipe of `PriorTask`, with its autoencoder.
        memory: whether there is a cache.
        token_flow: whether tokens are moved before they are attended to.
        segment: the most frames that are seen together.
        start: time of the sampler's first step.
        steps: of the sampler.
        colours: correction of the result; see `LiftVSRConfig`.
        decoded: frames of each clip that the recipe's losses look at.
        weights: of the losses ``noise``, ``latent``, ``change`` and ``alignment``.

    Raises:
        WeightsError: the prior cannot be read.
    """

    def __init__(
        self,
        prior: str,
        *,
        memory: bool = True,
        token_flow: bool = True,
        segment: int = 8,
        start: int = 249,
        steps: int = 1,
        colours: Literal["wavelet", "adain", "none"] = "none",
        decoded: int = 1,
        weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.decoded = decoded
        self.weights = _WEIGHTS | (weights or {})
        pixart, vae = read_prior(Path(prior))
        config = LiftVSRConfig(
            segment=segment,
            steps=steps,
            start=start,
            rank=0,
            token_flow=token_flow,
            memory=memory,
            colours=colours,
        )
        self.system = LiftVSR(pixart, vae, config)
        self.system.transformer.requires_grad_(True)
        nn.init.zeros_(pixart.proj_out.weight)
        nn.init.zeros_(pixart.proj_out.bias)
        nn.init.ones_(self.system.transformer.gain)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Losses of a clip in training, the clip restored outside of it.

        Args:
            low: (B, T, 3, h, w) in [0, 1], two frames or more.
            high: (B, T, 3, 4 h, 4 w); in training, sides that the autoencoder divides.
        """
        system = self.system
        if not self.training:
            return StepResult(system(low), high)
        shape = low.shape[:2]
        with torch.no_grad():
            clean = torch.unflatten(system.encode(high.flatten(0, 1)), 0, shape)
            big = upsample(low.flatten(0, 1), system.scale)
            condition = torch.unflatten(system.encode(big), 0, shape)
        lengths = _cut(shape[1], system.config.segment)
        truth = torch.split(clean, lengths, dim=1)
        segments = [
            self._noised(z, c)
            for z, c in zip(truth, torch.split(condition, lengths, dim=1), strict=True)
        ]
        with watched_flows(system.transformer) as flows:
            noise = predict_noise(system.transformer, segments, system.prompt)
        pairs = list(zip(segments, noise, strict=True))
        found = torch.cat([clean_from(*pair) for pair in pairs], dim=1)
        wrong = [
            self._noise_error(segment, predicted, z)
            for (segment, predicted), z in zip(pairs, truth, strict=True)
        ]
        small = F.interpolate(high.flatten(0, 1), size=clean.shape[-2:], mode="area")
        small = torch.unflatten(small, 0, shape)
        losses = {
            "noise": torch.cat(wrong).mean(),
            "latent": (found - clean).abs().mean(),
            "change": (found.diff(dim=1) - clean.diff(dim=1)).abs().mean(),
            "alignment": alignment_loss(flows, torch.split(small, lengths, dim=1)),
        }
        chosen = torch.randperm(shape[1])[: self.decoded]
        target = high[:, chosen]
        frames = system.decode(found[:, chosen].flatten(0, 1), *high.shape[-2:])
        return StepResult(
            frames.view(target.shape),
            target,
            {name: self.weights[name] * value for name, value in losses.items()},
        )

    def _noised(self, clean: Tensor, condition: Tensor) -> Segment:
        """A segment at a time of its own."""
        start = self.system.config.start
        times = draw_times(len(clean), 1, times=start + 1)[:, 0]
        times = torch.where(torch.rand(len(clean)) < 0.5, start, times)
        share = (times / start).to(clean).view(-1, 1, 1, 1, 1)
        signal = torch.lerp(clean, condition, share)
        noisy = add_noise(signal, torch.randn_like(signal), times)
        return Segment(noisy, condition, times)

    @staticmethod
    def _noise_error(segment: Segment, predicted: Tensor, clean: Tensor) -> Tensor:
        """Squared, of all values, flat; less where there is hardly any noise."""
        level = levels_at(segment.times, clean)
        share = (_MOST_SNR * (1 - level) / level).clamp(max=1)
        error = (predicted - true_noise(segment, clean)).square()
        return (share * error).flatten()

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What ``build_liftvsr`` of ``configuration`` takes, and the weights for it."""
        system = copy.deepcopy(self.system)
        pixart = system.transformer.pixart.config
        sizes = {*NANO_PIXART, "in_channels", "out_channels"}
        config = {
            "autoencoder": asdict(system.vae.config),
            "pixart": {name: pixart[name] for name in sorted(sizes)},
            "liftvsr": system.config.model_dump(exclude={"files", "version"}),
        }
        return config, system.state_dict()


_MOST_SNR = 5.0
"""Ratio of signal to noise above which the loss of the noise counts less (min-SNR-γ,
Hang et al., ICCV 2023): where there is little noise, an error of the latents is a large
error of the noise."""

_WEIGHTS = {"noise": 0.05, "latent": 1.0, "change": 0.5, "alignment": 0.5}


def read_prior(path: Path) -> tuple[Any, Autoencoder]:
    """PixArt and the autoencoder of a checkpoint of `PriorTask`.

    Raises:
        WeightsError: it cannot be read, or is of another task.
    """
    checkpoint = read_checkpoint(path)
    sizes = dict(checkpoint.declared)
    with building("prior", path, "liftvsr-nano-prior"):
        vae = read_autoencoder(Path(sizes.pop("autoencoder")))
        pixart = _pixart(vae, sizes)
        trained = part_of(checkpoint.state, "vae.")
        if trained:  # kept checkpoints leave the frozen autoencoder to its own file
            vae.load_state_dict(trained)
        pixart.load_state_dict(part_of(checkpoint.state, "pixart."))
    return pixart, vae


def _pixart(vae: Autoencoder, sizes: dict[str, Any]) -> Any:
    channels = vae.config.latent_channels
    given = {"in_channels": channels, "out_channels": channels}
    return PixArtTransformer2DModel(**(NANO_PIXART | given | sizes))


def _cut(frames: int, most: int) -> list[int]:
    """Lengths of two segments, at random."""
    first = int(torch.randint(max(1, frames - most), min(most, frames - 1) + 1, ()))
    return [first, frames - first]
