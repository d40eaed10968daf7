"""The adversarial loss: a discriminator that is trained along."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import UsageError
from upframe.training.discriminators import DISCRIMINATORS
from upframe.training.losses import as_pictures
from upframe.training.recipe import GANLoss


class Adversary:
    """Discriminator and its optimiser."""

    def __init__(self, config: GANLoss, side: int, device: torch.device) -> None:
        """Make them.

        Args:
            config: of the loss.
            side: of the pictures in pixels.
            device: where it runs.

        Raises:
            UsageError: if the pictures do not fit the discriminator.
        """
        self.config = config
        kind = DISCRIMINATORS[config.discriminator]
        if side < kind.least or side % kind.multiple:
            raise UsageError(
                f"The discriminator {config.discriminator} takes pictures whose sides "
                f"are at least {kind.least} and a multiple of {kind.multiple}, "
                f"not {side}.",
                "Change data.patch.",
            )
        self.network = kind(config.channels).to(device).train()
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True
        )

    def fool(self, result: Tensor) -> Tensor:
        """What the network that enlarges is to lower, times the weight of the loss.

        Args:
            result: (B, 3, h, w) or (B, T, 3, h, w), not clipped.
        """
        self.network.requires_grad_(False)
        judged: Tensor = self.network(as_pictures(result))
        if self.config.kind == "hinge":
            return -self.config.weight * judged.float().mean()
        return self.config.weight * self._entropy(judged, 1.0)

    def judge(self, result: Tensor, target: Tensor) -> Tensor:
        """What the discriminator is to lower.

        Args:
            result: detached.
            target: the same shape.
        """
        self.network.requires_grad_(True)
        real = self.network(as_pictures(target))
        fake = self.network(as_pictures(result))
        if self.config.kind == "hinge":
            return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()
        return self._entropy(real, 1.0) + self._entropy(fake, 0.0)

    @staticmethod
    def _entropy(judged: Tensor, truth: float) -> Tensor:
        judged = judged.float()
        return F.binary_cross_entropy_with_logits(
            judged, torch.full_like(judged, truth)
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
