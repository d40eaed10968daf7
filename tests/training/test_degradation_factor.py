from __future__ import annotations

import numpy as np
import torch

from upframe.degradations.ranges import BIConfig, RealConfig
from upframe.degradations.registry import degrade
from upframe.nn.images import upsample
from upframe.systems.ultravsr.model import restoration_step
from upframe.systems.ultravsr.training.degradation_factor import latent_correlation


def test_it_finds_the_alpha_bar_of_a_diffused_latent() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 4, 48, 48, generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    root = torch.tensor([0.95, 0.6, 0.2])[:, None, None, None]
    found = latent_correlation(z, root * z + (1 - root**2).sqrt() * noise)
    torch.testing.assert_close(found, root[:, 0, 0, 0], rtol=0, atol=0.03)


def test_the_target_leads_to_the_best_step() -> None:
    # of all factors, the target is the one whose residual looks most like unit noise
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, 4, 48, 48, generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    degraded = 0.7 * z + 0.51**0.5 * noise
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    step = restoration_step(
        latent_correlation(z, degraded), torch.cumprod(1 - betas, 0)
    )
    torch.testing.assert_close(step.restore(degraded, noise), z, rtol=0, atol=0.15)


def test_extremes() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert latent_correlation(x, x * 3 + 1)[0] > 0.9999
    assert latent_correlation(x, -x)[0] == 0
    assert latent_correlation(x, torch.ones_like(x))[0] == 0


def test_worse_degradations_get_lower_factors() -> None:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)

    def target(config: BIConfig | RealConfig) -> torch.Tensor:
        """Of the degraded frames, upsampled; means of 4x4 pixels serve as latents."""
        clean, low = (
            torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2) / 255
            for x in (clip, degrade(config, clip, 4, rng))
        )
        pair = (torch.nn.functional.avg_pool2d(x, 4) for x in (clean, upsample(low, 4)))
        return latent_correlation(*pair)

    mild = target(BIConfig())
    real = target(RealConfig(first_video=None, final_video=None))
    assert mild.shape == (2,)
    assert (mild > 0.95).all()
    assert (real < mild).all()
