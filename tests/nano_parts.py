"""Tiny configurations of the four diffusion systems, and random weights for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

AUTOENCODER: dict[str, Any] = {
    "block_out_channels": [4, 6],
    "latent_channels": 4,
    "layers_per_block": 1,
    "scaling_factor": 0.7,
    "patch": 4,
}

ULTRAVSR: dict[str, Any] = {
    "autoencoder": AUTOENCODER,
    "unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [8],
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "mid_block_type": None,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
    "estimator": {"width": 4, "levels": 2},
}

OASIS: dict[str, Any] = {
    "autoencoder": AUTOENCODER,
    "transformer": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 12,
        "out_channels": 4,
        "text_dim": 8,
        "freq_dim": 16,
        "ffn_dim": 24,
        "num_layers": 2,
        "rope_max_seq_len": 128,
    },
    "oasis": {"noise_level": 0.2},
    "chunking": {"length": 5, "context": 1, "blend": 1},
}

LIFTVSR: dict[str, Any] = {
    "autoencoder": AUTOENCODER,
    "pixart": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 3,
        "cross_attention_dim": 24,
        "caption_channels": 10,
        "patch_size": 1,
        "sample_size": 32,
        "use_additional_conditions": False,
    },
    "liftvsr": {"segment": 4, "steps": 2, "start": 300, "rank": 0},
    "prompt_tokens": 2,
}

PATCHSCALER: dict[str, Any] = {
    "autoencoder": AUTOENCODER,
    "sizes": {
        "restoration": [8, 12],
        "blocks": 1,
        "layers": 2,
        "heads": 2,
        "head_width": 8,
        "classifier": [6, 8],
        "classes": 3,
    },
    "grouping": {
        "groups": [
            {"start": 100, "steps": 1},
            {"start": 300, "steps": 2},
            {"start": 600, "steps": 3},
        ]
    },
    "patch": 8,
    "overlap": 2,
    "references": 2,
    "memory": 5,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "ultravsr": ULTRAVSR,
    "oasis": OASIS,
    "liftvsr": LIFTVSR,
    "patchscaler": PATCHSCALER,
}


def weights(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Random values around 1 for everything, so that every part has an effect."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        spread = 0.7 * value[0].numel() ** -0.5 if value.dim() > 1 else 0.1
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        state[name] = (centre + spread * noise).half()
    return state


def save(folder: Path, system: str, **changed: Any) -> Path:
    """A weight file as it ships: float16, with system and configuration."""
    from upframe.systems.registry import find_spec

    config = {**CONFIGS[system], **changed}
    path = folder / f"{system}-tiny.safetensors"
    about = {"format": "pt", "system": system, "config": json.dumps(config)}
    save_file(weights(find_spec(system).build(config)), path, metadata=about)
    return path


def clip(frames: int, height: int = 16, width: int = 20, seed: int = 3) -> Tensor:
    """(1, T, 3, h, w) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, frames, 3, height, width, generator=generator)
