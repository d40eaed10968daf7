"""An initial estimate of OASIS's latents, by convolutions.

Not in the paper, whose transformer begins as a pretrained video model. One that begins
at random has to learn first what a latent is; a few convolutions learn that faster. The
transformer sees the estimate beside the unshuffled frames and corrects it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from upframe.systems.diffusion.autoencoder import ResidualBlock


class EstimateConfig(BaseModel):
    """Sizes of a `InitialEstimate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=64, ge=1)
    """Channels."""
    blocks: int = Field(default=2, ge=0)
    """Residual blocks of two convolutions."""


class InitialEstimate(nn.Module):
    """Unshuffled frames to latents, one latent frame at a time.

    Args:
        inputs: channels of the unshuffled frames.
        outputs: channels of latents.
        config: its sizes.
    """

    def __init__(self, inputs: int, outputs: int, config: EstimateConfig) -> None:
        super().__init__()
        blocks = (ResidualBlock(config.width) for _ in range(config.blocks))
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, config.width, 3, padding=1),
            *blocks,
            nn.SiLU(),
            nn.Conv2d(config.width, outputs, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, L, h, w) to (B, outputs, L, h, w)."""
        frames = x.transpose(1, 2)
        out: Tensor = self.layers(frames.flatten(0, 1))
        return out.view(*frames.shape[:2], *out.shape[1:]).transpose(1, 2)
