"""Tiny random components of the classes that the full-size system has."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor, nn

from upframe.systems.oasis.attention import architecture
from upframe.systems.oasis.head_routing import LayerRouting, Routing
from upframe.systems.oasis.model import OASIS, OasisConfig
from upframe.systems.oasis.routed_attention import HeadKind

HEADS, LAYERS = 3, 2


def transformer(channels: int = 48, seed: int = 0) -> WanTransformer3DModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = WanTransformer3DModel(
            num_attention_heads=HEADS,
            attention_head_dim=16,
            in_channels=channels,
            out_channels=4,
            text_dim=8,
            freq_dim=16,
            ffn_dim=24,
            num_layers=LAYERS,
            rope_max_seq_len=64,
        )
        for name, parameter in made.named_parameters():
            if "to_q" in name or "to_k" in name:
                nn.init.normal_(parameter, std=0.5)  # attention that is not uniform
    return made.eval()


def autoencoder(seed: int = 0) -> AutoencoderKLWan:
    """8 times smaller in space, 4 times in time, as Wan's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.0, 2.0, 0.5, 1.5],
        )
    return made.eval()


def routing(model: WanTransformer3DModel, *kinds: HeadKind) -> Routing:
    return Routing(
        architecture=architecture(model),
        window=(3, 3, 3),
        layers=(LayerRouting(heads=kinds),) * LAYERS,
    )


def system(*kinds: HeadKind, **config: float) -> OASIS:
    model = transformer()
    heads = routing(model, *kinds) if kinds else None
    return OASIS(model, autoencoder(), OasisConfig(**config), heads).eval()  # type: ignore[arg-type]


def clip(frames: int, height: int = 16, width: int = 20, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, frames, 3, height, width, generator=generator)
