"""The autoencoder of the nano systems: pictures through a latent and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from upframe.systems.autoencoder import NANO, Autoencoder
from upframe.systems.latents import encode, trim
from upframe.training.responses import Response
from upframe.training.tasks.stages import building, part_of
from upframe.weights.checkpoints import read_checkpoint


class AutoencoderTask(nn.Module):
    """What the recipe's losses compare are the original and what comes back.

    Args:
        kl_weight: of the divergence from the standard normal, in nats per latent value;
            keeps latents from spreading, and no more.
        sizes: fields of `AutoencoderConfig` that differ from `NANO`.
    """

    def __init__(self, kl_weight: float = 1e-4, **sizes: Any) -> None:
        super().__init__()
        self.kl_weight = kl_weight
        self.network = Autoencoder(replace(NANO, **sizes))

    def learn(self, low: Tensor, high: Tensor) -> Response:
        """The originals through the network; latents are sampled in training mode.

        Args:
            low: is not looked at.
            high: (B, 3, H, W) in [0, 1]; cut to multiples of the factor.
        """
        del low
        high = trim(high, self.network.config.factor)
        if self.training:
            out, posterior = self.network(high * 2 - 1)
        else:
            posterior = self.network.encode(high * 2 - 1).latent_dist
            out = self.network.decode(posterior.mean)
        losses = {"kl": self.kl_weight * posterior.kl()}
        return Response(out * 0.5 + 0.5, high, losses)


def clean_latents(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Latents of unit variance, without gradient.

    Args:
        autoencoder: any.
        pictures: (B, 3, H, W) in [0, 1]; cut to multiples of the factor.

    Returns:
        (B, latent channels, H / factor, W / factor), float32.
    """
    return encode(autoencoder, trim(pictures, autoencoder.config.factor))


def read_autoencoder(path: Path) -> Autoencoder:
    """The frozen autoencoder that the other tasks stand on.

    Args:
        path: a checkpoint of a recipe of `AutoencoderTask`, or weights with the names
            of `Autoencoder` and, in their ``config``, its sizes.

    Returns:
        In eval mode, without gradients, of the sizes of the file.

    Raises:
        WeightsError: it cannot be read, or is none.
    """
    checkpoint = read_checkpoint(path)
    with building("autoencoder", path, "autoencoder-nano"):
        sizes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v
            for k, v in checkpoint.declared.items()
            if k != "kl_weight"
        }
        network = Autoencoder(replace(NANO, **sizes))
        state = checkpoint.state
        network.load_state_dict(part_of(state, "network.") or state)
    return network.requires_grad_(False).eval()
