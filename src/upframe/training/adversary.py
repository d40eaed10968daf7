"""The adversarial loss: a discriminator that is trained along."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import UsageError
from upframe.training.discriminators import DISCRIMINATORS
from upframe.training.losses import as_images
from upframe.training.recipe import GANLoss


class Adversary:
    """Discriminator and its optimiser."""

    def __init__(self, config: GANLoss, side: int, device: torch.device) -> None:
        """Make them.

        Args:
            config: of the loss.
            side: of the images in pixels.
            device: where it runs.

        Raises:
            UsageError: if the images do not fit the discriminator.
        """
        self.config = config
        kind = DISCRIMINATORS[config.discriminator]
        if side < kind.least or side % kind.multiple:
            raise UsageError(
                f"The discriminator {config.discriminator} takes images whose sides "
                f"are at least {kind.least} and a multiple of {kind.multiple}, "
                f"not {side}.",
                "Change data.patch.",
            )
        self.network = kind(config.channels).to(device).train()
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True
        )

    def generator_loss(self, result: Tensor) -> Tensor:
        """The loss of the network in training, times its weight.

        Args:
            result: (B, 3, h, w) or (B, T, 3, h, w), not clipped.
        """
        self.network.requires_grad_(False)
        logits: Tensor = self.network(as_images(result))
        if self.config.kind == "hinge":
            return -self.config.weight * logits.float().mean()
        return self.config.weight * self._entropy(logits, 1.0)

    def discriminator_loss(self, result: Tensor, target: Tensor) -> Tensor:
        """The loss of the discriminator.

        Args:
            result: detached.
            target: the same shape.
        """
        self.network.requires_grad_(True)
        real = self.network(as_images(target))
        fake = self.network(as_images(result))
        if self.config.kind == "hinge":
            return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()
        return self._entropy(real, 1.0) + self._entropy(fake, 0.0)

    @staticmethod
    def _entropy(logits: Tensor, truth: float) -> Tensor:
        logits = logits.float()
        return F.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, truth)
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything a resume needs."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The state of another one with the same configuration."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
