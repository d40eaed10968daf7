"""OASIS trained from nothing: a small Wan transformer before a frozen small decoder.

The paper starts from Wan, which knows what videos look like. Here all weights begin at
random, and training is short. What was chosen for that:

* The output is a correction of a initial estimate of the latents by a few convolutions
  (`upframe.systems.oasis.initial_estimate`), and starts at zero.
* What is learned is direct: the distance to the latents of the originals (the encoder
  is there in training only), and the recipe's losses on decoded images. Decoding is
  most of the work of a step, so a few frames of a clip are decoded, all are compared
  as latents.
* Gates of the transformer's layers begin at one instead of near zero.

No noise, as in the paper's figure.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from upframe.systems.diffusion.decoders import FrameDecoder
from upframe.systems.diffusion.latents import encode, fill
from upframe.systems.diffusion.training import read_autoencoder
from upframe.systems.oasis.components import input_channels
from upframe.systems.oasis.configuration import build_oasis
from upframe.systems.oasis.head_routing import Routing
from upframe.systems.oasis.initial_estimate import EstimateConfig
from upframe.systems.oasis.model import OASIS, Chunking, OasisConfig
from upframe.systems.training_step import StepResult

_FREQUENCIES = 32
"""Of the embedding of the timestep, which is always the same."""
_PROMPT = 8
"""Channels of the prompt, which is always zero."""
_OWN = 17
"""Latent frames of a chunk that no other chunk gives, where chunks are exact."""


class OASISTask(nn.Module):
    """Clips of low resolution to latents of the frozen autoencoder.

    Args:
        autoencoder: weights, as `read_autoencoder` reads them.
        layers: of the transformer.
        heads: of each layer.
        head_dim: channels of a head.
        ffn_dim: channels between the two layers of feed-forward networks.
        guess: `EstimateConfig`; None for a transformer alone.
        routing: file of the heads' routing; None leaves all global.
        latent_weight: of the absolute difference of latents, mean over values.
        decoded: frames of a clip that become images in training; in a row.

    Raises:
        WeightsError: the autoencoder or the routing cannot be read or does not fit.
    """

    def __init__(
        self,
        autoencoder: str,
        layers: int = 4,
        heads: int = 6,
        head_dim: int = 24,
        ffn_dim: int = 288,
        guess: dict[str, int] | None = None,
        routing: str | None = None,
        latent_weight: float = 0.1,
        decoded: int = 2,
    ) -> None:
        super().__init__()
        vae = read_autoencoder(Path(autoencoder))
        first = None if guess is None else EstimateConfig(**guess)
        decoder = FrameDecoder(vae)
        channels = input_channels(4, decoder.spatial, decoder.temporal)
        self.sizes: dict[str, Any] = {
            "num_attention_heads": heads,
            "attention_head_dim": head_dim,
            "in_channels": channels + (0 if first is None else decoder.channels),
            "out_channels": decoder.channels,
            "text_dim": _PROMPT,
            "freq_dim": _FREQUENCIES,
            "ffn_dim": ffn_dim,
            "num_layers": layers,
        }
        transformer = WanTransformer3DModel(**self.sizes)
        _start(transformer)
        self.system = OASIS(
            transformer,
            vae,
            OasisConfig(guess=first),
            None if routing is None else Routing.load(Path(routing)),
        )
        self.latent_weight = latent_weight
        self.decoded = decoded

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """Restore a clip; in training, decode some frames of it.

        Args:
            low: (B, T, 3, h, w) in [0, 1].
            high: (B, T, 3, 4h, 4w).
        """
        latents = self.system.latents(low)
        wanted = self._encode(high)
        distance = (latents - wanted).abs().mean()
        count = high.shape[1]
        begin, size = 0, count
        if self.training:
            size = min(self.decoded, count)
            begin = int(torch.randint(count - size + 1, ()))
        chosen = slice(begin, begin + size)
        height, width = high.shape[-2:]
        return StepResult(
            self._decode(latents[:, :, chosen])[..., :height, :width],
            high[:, chosen],
            {"latents": self.latent_weight * distance},
        )

    def _encode(self, high: Tensor) -> Tensor:
        """(B, T, 3, H, W) to latents (B, C, T, h, w) of whole tokens."""
        _, token, _ = self.system.transformer.config.patch_size
        vae = self.system.vae
        images = fill(high.flatten(0, 1), vae.config.factor * token)
        return torch.unflatten(encode(vae, images), 0, high.shape[:2]).transpose(1, 2)

    def _decode(self, latents: Tensor) -> Tensor:
        """(B, C, T, h, w) to (B, T, 3, H, W) around [0, 1]."""
        each = latents.transpose(1, 2)
        frames = self.system.decoder.start()(each.flatten(0, 1)[:, :, None])
        return torch.unflatten(frames[:, 0], 0, each.shape[:2]) * 0.5 + 0.5

    def export_state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What ``build_oasis`` of ``configuration`` takes, and the weights for it."""
        system = self.system
        config = {
            "autoencoder": asdict(system.vae.config),
            "transformer": self.sizes,
            "oasis": system.config.model_dump(include={"timestep", "guess"}),
            "routing": system.routing.model_dump(mode="json"),
            "chunking": asdict(_chunks(system.routing)),
        }
        with torch.device("meta"):
            names = build_oasis(config).state_dict().keys()
        return config, {k: v for k, v in system.state_dict().items() if k in names}


def _chunks(routing: Routing) -> Chunking:
    """Chunks that give what the whole clip gives, where no head is global."""
    if routing.share("global") > 0:
        return Chunking()
    reach = routing.window[0] // 2
    context = sum(reach for layer in routing.layers if layer.share("window") > 0)
    return Chunking(length=_OWN + 2 * context, context=context, blend=0)


def _start(transformer: WanTransformer3DModel) -> None:
    """Random weights that training gets on with: gates of one, an output of zero."""
    with torch.no_grad():
        for block in transformer.blocks:
            for gate in (2, 5):
                block.scale_shift_table[:, gate] = 1.0
        transformer.proj_out.weight.zero_()
        transformer.proj_out.bias.zero_()
