"""What LiftVSR asks of PixArt, its autoencoder and its sampler, and adds to PixArt.

Part of `upframe.systems.liftvsr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from upframe.errors import UsageError, WeightsError
from upframe.systems.diffusion.decoders import FrameDecoder
from upframe.systems.liftvsr.files import ADDED
from upframe.systems.liftvsr.transformer import LiftTransformer

PIXART_XL_2: Mapping[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "cross_attention_dim": 1152,
    "patch_size": 2,
    "sample_size": 64,
    "caption_channels": 4096,
}
"""PixArt-α XL/2 at 512 pixels; the rest is diffusers' default."""


def sampling_times(steps: int, start: int) -> list[int]:
    """Evenly spaced times from ``start`` on, the last one step before the end.

    Raises:
        UsageError: there are not so many times.
    """
    if steps > start + 1:
        raise UsageError(
            f"There are no {steps} times from {start} to 0.", "Use fewer steps."
        )
    return [round((start + 1) * n / steps) - 1 for n in range(steps, 0, -1)]


def prompt_width(pixart: Any) -> int:
    """Width of the embeddings of prompts; 1 where there is nothing that reads them."""
    config = pixart.config
    return int(config.caption_channels or config.cross_attention_dim or 1)


def check_components(pixart: Any, vae: FrameDecoder, prompt: Tensor | None) -> None:
    """Compare what comes from different places.

    Args:
        pixart: diffusers' ``PixArtTransformer2DModel``.
        vae: the decoder of the autoencoder.
        prompt: (1, L, K) embedding; None for none.

    Raises:
        WeightsError: the components do not fit together.
    """
    config = pixart.config
    if config.in_channels != vae.channels:
        raise WeightsError(
            f"The transformer works on latents of {config.in_channels} channels, the "
            f"autoencoder makes {vae.channels}.",
            "Take both from the same model.",
        )
    if pixart.out_channels not in (vae.channels, 2 * vae.channels):
        raise WeightsError(
            f"The transformer gives {pixart.out_channels} channels, not noise alone or "
            "noise and its variance.",
            "Use a PixArt that predicts noise.",
        )
    width = prompt_width(pixart)
    if prompt is not None and (prompt.ndim, prompt.shape[-1]) != (3, width):
        raise WeightsError(
            f"The prompt is {tuple(prompt.shape)}, not (1, tokens, {width}).",
            "Use the embedding of the transformer's own text encoder.",
        )


def fill_added(transformer: LiftTransformer, state: Mapping[str, Tensor]) -> None:
    """Put what was added into place.

    Raises:
        WeightsError: it belongs to another network.
    """
    wanted = {name: value.shape for name, value in transformer.added_state().items()}
    found = {name: value.shape for name, value in state.items()}
    if wrong := sorted(wanted.items() ^ found.items()):
        raise WeightsError(
            f"{ADDED} does not fit the transformer; it begins with {wrong[0][0]}.",
            "Copy the folder again; components and liftvsr.json belong together.",
        )
    transformer.load_state_dict(state, strict=False)
