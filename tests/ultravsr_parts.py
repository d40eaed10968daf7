"""Tiny components of the classes that the full-size system uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from upframe.systems.ultravsr.adapters import prepare_training, trainable
from upframe.systems.ultravsr.backbones import place_in_unet, place_in_vae

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


def vae(seed: int = 0, widths: tuple[int, ...] = (4, 8)) -> Any:
    """Shrinks to half at each level but the first; random everywhere."""
    diffusers = pytest.importorskip("diffusers")
    return shaken(
        diffusers.AutoencoderKL(
            block_out_channels=widths,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
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


def save_base(folder: Path, widths: tuple[int, ...] = (4, 8)) -> None:
    """A model in diffusers' layout, of the classes of the full size."""
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    unet().save_pretrained(folder / "unet")
    vae(widths=widths).save_pretrained(folder / "vae")
    diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(folder / "scheduler")
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3}
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer/tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 6, "tokenizer_class": "CLIPTokenizer"})
    )
    config = transformers.CLIPTextConfig(
        vocab_size=4,
        hidden_size=TEXT_WIDTH,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=6,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    transformers.CLIPTextModel(config).save_pretrained(folder / "text_encoder")


def trained(widths: tuple[int, ...] = (4, 8)) -> tuple[Any, Any]:
    """UNet and autoencoder with all that training adds to them."""
    networks = unet(), vae(widths=widths)
    place_in_unet(networks[0])
    place_in_vae(networks[1])
    prepare_training(*networks, rank=2)
    generator = torch.Generator().manual_seed(5)
    for _, parameter in trainable(*networks):
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(noise * 0.1)
    return networks
