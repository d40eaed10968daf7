"""The autoencoder of the nano systems: images through a latent and back.

With a teacher, a smaller one learns the latents of a larger: what was trained
on those, a prior or a transformer, goes on with either.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.systems.diffusion.autoencoder import NANO, Autoencoder
from upframe.systems.diffusion.latents import encode, trim
from upframe.systems.training_step import StepResult
from upframe.training.stages import building, part_of
from upframe.weights.checkpoints import read_checkpoint

_OWN = ("kl_weight", "teacher", "latent_weight")
"""Arguments of `AutoencoderTask` that are no sizes."""


class AutoencoderTask(nn.Module):
    """What the recipe's losses compare are the original and what comes back.

    Args:
        kl_weight: of the divergence from the standard normal, in nats per latent value;
            keeps latents from spreading, and no more.
        teacher: file of the autoencoder whose latents are to be learned, and whose
            weights it starts from where it has layers of the same name and shape.
        latent_weight: of the absolute difference from the teacher's latents, which
            have unit variance.
        sizes: fields of `AutoencoderConfig` that differ from `NANO`.

    Raises:
        WeightsError: the teacher cannot be read, or its latents are of another shape.
    """

    def __init__(
        self,
        kl_weight: float = 1e-4,
        teacher: str | None = None,
        latent_weight: float = 0.0,
        **sizes: Any,
    ) -> None:
        super().__init__()
        self.kl_weight = kl_weight
        self.latent_weight = latent_weight
        self.network = Autoencoder(replace(NANO, **sizes))
        self.teacher = None if teacher is None else read_autoencoder(Path(teacher))
        if self.teacher is not None:
            _start_from(self.network, self.teacher)

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
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
        if self.teacher is not None:
            scale = self.teacher.config.scaling_factor
            wanted = clean_latents(self.teacher, high)
            apart = (posterior.mean * scale - wanted).abs().mean()
            losses["latent"] = self.latent_weight * apart
        return StepResult(out * 0.5 + 0.5, high, losses)


def _start_from(network: Autoencoder, teacher: Autoencoder) -> None:
    shapes = [(x.config.factor, x.config.latent_channels) for x in (network, teacher)]
    if shapes[0] != shapes[1]:
        raise WeightsError(
            f"The teacher makes latents of {shapes[1][1]} channels, {shapes[1][0]} "
            f"times as small; {shapes[0][1]} channels and {shapes[0][0]} are wanted.",
            "Give the sizes of the recipe the teacher's latent_channels and factor.",
        )
    own = network.state_dict()
    common = {
        name: value
        for name, value in teacher.state_dict().items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict(common, strict=False)


def clean_latents(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    """Latents of unit variance, without gradient.

    Args:
        autoencoder: any.
        images: (B, 3, H, W) in [0, 1]; cut to multiples of the factor.

    Returns:
        (B, latent channels, H / factor, W / factor), float32.
    """
    return encode(autoencoder, trim(images, autoencoder.config.factor))


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
            if k not in _OWN
        }
        network = Autoencoder(replace(NANO, **sizes))
        state = checkpoint.state
        network.load_state_dict(part_of(state, "network.") or state)
    return network.requires_grad_(False).eval()
