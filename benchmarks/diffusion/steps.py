"""UltraVSR with several steps of its own schedule, to compare its one step with.

The latent of the low-resolution frames counts as the clean one after some diffusion
(`upframe.systems.ultravsr`). One step predicts the clean latent at once; here DDIM
(Song et al., ICLR 2021, without noise) goes there in several, with the same weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from upframe.nn.images import colour_fixes, upsample
from upframe.systems.ultravsr.model import Step, restoration_step, sampled_frames


class SeveralSteps(nn.Module):
    """Maps clips (N, T, 3, h, w) in [0, 1] to (N, T, 3, 4h, 4w), as UltraVSR does.

    Args:
        system: UltraVSR; is not changed.
        steps: calls of its UNet at most; fewer where the clip lies fewer timesteps
            from the clean end. With 1 it is UltraVSR.
        seed: of the noise of the encoder's latents.
    """

    def __init__(self, system: Any, steps: int, seed: int = 0) -> None:
        super().__init__()
        self.system, self.steps, self.seed = system, steps, seed

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Restore whole clips."""
        return torch.cat([self._restore(clip) for clip in clips])

    def _restore(self, frames: Tensor) -> Tensor:
        """(T, 3, h, w) to (1, T, 3, 4h, 4w)."""
        system, count = self.system, len(frames)
        big = upsample(frames.float(), system.scale)
        factor = system.estimate(big[sampled_frames(count)])[None]
        step = restoration_step(factor, system.alphas_cumprod)
        z = system.encode(big, list(range(count)), self.seed)
        z = self._denoise(z, step, count)
        out = system.decode(z, count, tuple(big.shape[-2:])).clamp(0, 1)
        return colour_fixes[system.colours](out, big).clamp(0, 1)[None]

    def _denoise(self, z: Tensor, step: Step, count: int) -> Tensor:
        alphas = self.system.alphas_cumprod
        start = int(step.timestep[0])
        steps = max(1, min(self.steps, start))
        times = torch.linspace(start, 0, steps + 1).round().long()[:-1]
        signal = step.alpha_bar
        for number, time in enumerate(times):
            clean = self.system.restore(z, Step(time[None], signal), count)
            if number == steps - 1:
                return clean
            noise = (z - signal.sqrt() * clean) / (1 - signal).sqrt()
            signal = alphas[times[number + 1]][None]
            z = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        return z
