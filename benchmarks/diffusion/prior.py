"""UltraVSR-nano's own prior as a restorer of several steps.

It restores without being trained for it (SDEdit, Meng et al., ICLR 2022): the latent of
the enlarged frame is noised to a timestep in the middle of the schedule, where noise
covers the degradation but not the content, and denoised from there by DDIM. Frames are
independent of each other. The prior is unconditional, so it is a weak baseline; the
same network with several steps (`benchmarks.diffusion.steps`) is the fairer one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from upframe.nn.images import colour_fixes, upsample
from upframe.nn.layout import channels_last
from upframe.nn.noise import frame_noise
from upframe.systems.diffusion.latents import encode, fill
from upframe.systems.ultravsr.configuration import TIMESTEPS, UltraVSRSizes
from upframe.systems.ultravsr.training.tasks import PriorTask
from upframe.training.stages import part_of
from upframe.weights.checkpoints import read_checkpoint

STEPS = 20
STRENGTH = 0.3


class PriorRestorer(nn.Module):
    """Maps clips (N, T, 3, h, w) in [0, 1] to (N, T, 3, 4h, 4w), as UltraVSR does.

    Args:
        prior: trained.
        steps: of DDIM.
        strength: where on the schedule it begins, 0 to 1: the share of the timesteps
            that lie below.
        seed: of the noise, which depends on the number of the frame besides.
        colours: correction of the result, a name in `colour_fixes`.
    """

    def __init__(
        self,
        prior: PriorTask,
        steps: int = STEPS,
        strength: float = STRENGTH,
        seed: int = 0,
        colours: str = "wavelet",
    ) -> None:
        from diffusers import DDIMScheduler

        super().__init__()
        channels_last(prior)  # as UltraVSR keeps its networks
        self.prior = prior
        self.seed, self.colours = seed, colours
        first, last = UltraVSRSizes.model_fields["betas"].default
        self.scheduler = DDIMScheduler(
            TIMESTEPS,
            beta_start=first,
            beta_end=last,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        # as diffusers' image-to-image pipelines: a finer schedule, and its last steps
        self.scheduler.set_timesteps(round(steps / strength))
        self.timesteps = self.scheduler.timesteps[-steps:]

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Restore every frame for itself."""
        autoencoder = self.prior.autoencoder
        big = upsample(clips.flatten(0, 1), 4)
        height, width = big.shape[-2:]
        z = encode(autoencoder, fill(big, autoencoder.config.factor))
        indices = list(range(clips.shape[1])) * len(clips)
        noise = frame_noise(self.seed, indices, z.shape[1:])
        z = self.scheduler.add_noise(z, noise, self.timesteps[:1])
        for timestep in self.timesteps:
            predicted = self.prior.unet(z, timestep, None).sample
            z = self.scheduler.step(predicted, timestep, z).prev_sample
        out = autoencoder.decode(z / autoencoder.config.scaling_factor)
        out = (out[..., :height, :width] * 0.5 + 0.5).clamp(0, 1)
        out = colour_fixes[self.colours](out, big).clamp(0, 1)
        return out.reshape(*clips.shape[:2], *out.shape[1:])


def load_prior(path: Path) -> PriorTask:
    """A trained prior from the checkpoint of its recipe, with or without the
    autoencoder, whose file the recipe names."""
    checkpoint = read_checkpoint(path)
    prior = PriorTask(**checkpoint.declared)
    prior.unet.load_state_dict(part_of(checkpoint.state, "unet."))
    return prior.eval()
