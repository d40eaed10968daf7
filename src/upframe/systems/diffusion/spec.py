"""Training tasks that belong to several diffusion systems."""

from __future__ import annotations

from upframe.systems.spec import Lazy, Shapes, TrainingTask

TASKS = (
    TrainingTask(
        "autoencoder",
        Lazy("upframe.systems.diffusion.training:AutoencoderTask"),
        own_losses=True,
    ),
)
"""The autoencoder of the small systems."""


def has_autoencoder(shapes: Shapes) -> bool:
    """Whether a state dict holds the decoder of `Autoencoder`."""
    return "vae.decoder.conv_in.weight" in shapes
