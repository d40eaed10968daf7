"""Tiny components of the classes that the full-size system uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

TEXT_WIDTH = 12


def unet(seed: int = 0) -> Any:
    """Two levels, with attention to text; random everywhere."""
    diffusers = pytest.importorskip("diffusers")
    return shaken(
        diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=4,
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=2,
            use_linear_projection=True,
        ),
        seed,
    )


def vae(seed: int = 0) -> Any:
    """Shrinks twice; random everywhere."""
    diffusers = pytest.importorskip("diffusers")
    return shaken(
        diffusers.AutoencoderKL(
            block_out_channels=(4, 8),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=2,
            sample_size=16,
        ),
        seed,
    )


def alphas() -> Tensor:
    """The schedule of Stable Diffusion."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return torch.cumprod(1 - betas, 0)


def text(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, TEXT_WIDTH, generator=generator)


def shaken(network: nn.Module, seed: int) -> Any:
    """Random weights that keep values around 1, and no gradient."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = centre + noise * spread
    return network.eval().requires_grad_(False)
