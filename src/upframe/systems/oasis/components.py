"""What OASIS asks of its transformer and its autoencoder.

Part of `upframe.systems.oasis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from upframe.errors import WeightsError
from upframe.systems.diffusion.decoders import Decoder
from upframe.systems.oasis.files import OasisConfig

WAN_1_3B: Mapping[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
}
"""Wan2.1-T2V-1.3B; the rest is diffusers' default. OASIS has 48 input channels."""


def input_channels(scale: int, spatial: int, temporal: int) -> int:
    """Channels of the unshuffled input for a decoder of these factors."""
    return int(3 * temporal * (spatial // scale) ** 2)


def check_components(
    transformer: Any, decoder: Decoder, ours: OasisConfig, prompt: Tensor | None
) -> None:
    """Compare what comes from different places.

    Args:
        transformer: diffusers' ``WanTransformer3DModel``.
        decoder: of the autoencoder.
        ours: scale and initial estimate.
        prompt: (1, tokens, text_dim) embedding; None for none.

    Raises:
        WeightsError: the components do not fit together.
    """
    config = transformer.config
    if decoder.spatial % ours.scale:
        raise WeightsError(
            f"A scale of {ours.scale} does not divide the decoder's factor of "
            f"{decoder.spatial}.",
            "Use another scale.",
        )
    if config.patch_size[0] != 1:
        raise WeightsError(
            f"The transformer's patches span {config.patch_size[0]} latent frames.",
            "Use a transformer with patches of one.",
        )
    wanted = input_channels(ours.scale, decoder.spatial, decoder.temporal)
    if ours.guess is not None:
        wanted += decoder.channels
    if (config.in_channels, config.out_channels) != (wanted, decoder.channels):
        raise WeightsError(
            f"The transformer maps {config.in_channels} channels to "
            f"{config.out_channels}; scale and decoder need {wanted} to "
            f"{decoder.channels}.",
            "Begin with OASIS.from_wan, or use components that belong together.",
        )
    if prompt is not None and (prompt.ndim, prompt.shape[-1]) != (
        3,
        config.text_dim,
    ):
        raise WeightsError(
            f"The prompt is {tuple(prompt.shape)}, not (1, tokens, {config.text_dim}).",
            "Use the embedding of the transformer's own text encoder.",
        )
