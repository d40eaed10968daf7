"""A tiny random LiftVSR of the classes that the full-size system has."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from torch import Tensor, nn

from upframe.systems.liftvsr.files import LiftVSRConfig
from upframe.systems.liftvsr.model import LiftVSR
from upframe.systems.liftvsr.transformer import LiftTransformer

HEADS, LAYERS, CHANNELS, PATCH = 2, 3, 24, 2


def pixart(seed: int = 0, **changed: Any) -> PixArtTransformer2DModel:
    config: dict[str, Any] = {
        "num_attention_heads": HEADS,
        "attention_head_dim": CHANNELS // HEADS,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": LAYERS,
        "cross_attention_dim": CHANNELS,
        "caption_channels": 10,
        "patch_size": PATCH,
        "sample_size": 16,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = PixArtTransformer2DModel(**(config | changed))
    return made.eval()


def autoencoder(seed: int = 0) -> AutoencoderKL:
    """8 times smaller."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
            mid_block_add_attention=False,
        )
    return made.eval()


def stir(transformer: nn.Module, seed: int = 1) -> None:
    """Give all that is trained values that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter += 0.2 * noise.to(parameter)


def transformer(*, trained: bool = True, **how: Any) -> LiftTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        given = {"segment": 8, "factor": 8, "rank": 2}
        made = LiftTransformer(pixart(), **(given | how)).eval()
    if trained:
        stir(made)
    return made


def system(*, trained: bool = True, **config: Any) -> LiftVSR:
    """Segments of 3 frames, 2 steps, unless told otherwise."""
    given = {"segment": 3, "steps": 2, "rank": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        made = LiftVSR(pixart(), autoencoder(), LiftVSRConfig(**(given | config)))
    if trained:
        stir(made.transformer)
    return made.eval()


def clip(frames: int, height: int = 16, width: int = 20, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, frames, 3, height, width, generator=generator)
