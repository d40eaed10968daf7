"""How degraded an image is: the factor that UltraVSR's restoration schedule needs.

Anything that maps images (B, 3, H, W) in [0, 1] to (B,) in [0, 1], 1 for clean, can
be UltraVSR's estimator. There are two here:

* `DegradationEstimator`, an own network of 0.14 M parameters. Its target is what the
  schedule takes the factor for, √ᾱ: the correlation between the latents of the
  degraded and of the clean image
  (`upframe.systems.ultravsr.training.degradation_factor`). Weights come with
  `ultravsr-nano`, for the latents of its autoencoder alone.
* `ClipIQA`, which the authors use: the no-reference quality measure of Wang et al.,
  AAAI 2023, through the package pyiqa.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.errors import UpframeError

_FLAT = 1e-6
"""Variance of a map that counts as flat; keeps the logarithm finite."""


class DegradationEstimator(nn.Module):
    """A small convolutional network that counts what it sees at every size.

    Noise, blocks and ringing show in the fine levels, blur in what the coarse ones
    still hold. Mean and log variance over the image, of every feature map of every
    level, go to two linear layers; so any size of image fits.

    Args:
        width: channels of the finest level.
        levels: each halves the size.
    """

    def __init__(self, width: int = 24, levels: int = 4) -> None:
        super().__init__()
        widths = [width * (level + 1) for level in range(levels)]
        self.levels = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.head = nn.Sequential(
            nn.Linear(2 * sum(widths), 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """How clean images are.

        Args:
            images: (B, 3, H, W) in [0, 1], at output size; any H and W.

        Returns:
            (B,) in (0, 1), 1 for clean.
        """
        x = images * 2 - 1
        moments = []
        for level in self.levels:
            x = level(x)
            mean = x.mean(dim=(2, 3))
            # ten times as fast as torch.var on a CPU
            variance = (x - mean[..., None, None]).square().mean(dim=(2, 3))
            # divided and shifted, so that usual values are around 0
            moments += [mean, (variance + _FLAT).log() / 5 + 1]
            x = F.silu(x)
        out: Tensor = self.head(torch.cat(moments, dim=1))
        return out[:, 0].sigmoid()


class ClipIQA(nn.Module):
    """CLIP-IQA through pyiqa, as in the authors' code.

    Args:
        device: where its CLIP runs.

    Raises:
        UpframeError: pyiqa is not installed.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        super().__init__()
        try:
            import pyiqa
        except ImportError as error:
            raise UpframeError(
                "CLIP-IQA needs the package pyiqa, which is not installed.",
                "Install it with: pip install pyiqa (it brings torchvision), or use "
                "the estimator that comes with the weights.",
            ) from error
        self.metric: Any = pyiqa.create_metric("clipiqa", device=torch.device(device))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B,) in [0, 1], 1 for clean."""
        scores: Tensor = self.metric(images)
        return scores.reshape(len(images)).clamp(0, 1)
