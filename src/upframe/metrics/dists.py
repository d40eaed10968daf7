"""DISTS: structure and texture of two pictures, compared in the features of VGG16.

Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity" (IEEE
TPAMI 2020). The layers are written anew from the paper; the order of the weights is
that of the authors' release (MIT). Pictures are not resized first, as in their package;
some papers shrink the shorter side to 256 pixels, which gives other numbers. The
weights are read from a file that ``scripts/make_dists_weights.py`` makes. Importing
this module needs torch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.errors import MissingExtraError, WeightsError
from upframe.metrics.files import find_file

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from upframe.metrics.pictures import as_tensor
    from upframe.weights.loading import read_state
except ImportError as error:
    raise MissingExtraError("DISTS", "metrics") from error

FILE = "dists_vgg16_features_and_weights.safetensors"
"""Name of the file with ``features.*`` of VGG16, ``alpha`` and ``beta``."""


STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of VGG16 by stage, numbered as in torchvision."""

_CHANNELS = (64, 128, 256, 512, 512)
_TINY = 1e-6


class VGGStages(nn.Module):
    """The convolutions of VGG16 with smooth pooling, and the weights of DISTS."""

    mean: Tensor
    std: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        before = 3
        for stage, channels in zip(STAGES, _CHANNELS, strict=True):
            for number in stage:
                self.features[str(number)] = nn.Conv2d(before, channels, 3, padding=1)
                before = channels
        count = 3 + sum(_CHANNELS)
        self.alpha = nn.Parameter(torch.full((1, count, 1, 1), 0.1))
        self.beta = nn.Parameter(torch.full((1, count, 1, 1), 0.1))
        g = torch.tensor((0.25, 0.5, 0.25))
        for name, value in (
            ("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)),
            ("std", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)),
            ("window", torch.outer(g, g)[None, None]),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The picture and five maps.

        Args:
            x: (B, 3, h, w) RGB in [0, 1].

        Returns:
            ``x`` and the output of each stage, (B, C, h / 2^k, w / 2^k).
        """
        maps = [x]
        x = (x - self.mean) / self.std
        for number, stage in enumerate(STAGES):
            if number:
                channels = x.shape[1]
                window = self.window.expand(channels, 1, 3, 3)
                x = F.conv2d(x.square(), window, stride=2, padding=1, groups=channels)
                x = (x + 1e-12).sqrt()
            for layer in stage:
                x = F.relu(self.features[str(layer)](x))
            maps.append(x)
        return maps

    def compare(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Distance (B) of two results of :meth:`forward`."""
        texture, structure = [], []
        for x, y in zip(a, b, strict=True):
            mean_x, mean_y = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
            var_x = (x - mean_x).square().mean((2, 3), keepdim=True)
            var_y = (y - mean_y).square().mean((2, 3), keepdim=True)
            both = ((x - mean_x) * (y - mean_y)).mean((2, 3), keepdim=True)
            texture.append(
                (2 * mean_x * mean_y + _TINY)
                / (mean_x.square() + mean_y.square() + _TINY)
            )
            structure.append((2 * both + _TINY) / (var_x + var_y + _TINY))
        total = self.alpha.sum() + self.beta.sum()
        alike = self.alpha * torch.cat(texture, 1) + self.beta * torch.cat(structure, 1)
        return 1 - alike.sum((1, 2, 3)) / total


class DISTS:
    """The metric: 0 for equal pictures, larger is worse, seldom above 0.6."""

    def __init__(self, path: Path | str | None = None, device: str = "cpu") -> None:
        """Load the network.

        Args:
            path: of the weights or their folder; None to look where
                :func:`upframe.metrics.files.find_file` says.
            device: where the network runs.

        Raises:
            WeightsError: the file is missing, damaged, or of another network.
        """
        self.path = find_file(FILE, "DISTS", path)
        network = VGGStages()
        try:
            network.load_state_dict(read_state(self.path))
        except RuntimeError as error:
            raise WeightsError(
                f"{self.path} does not hold the weights of DISTS.",
                "Make the file with scripts/make_dists_weights.py.",
            ) from error
        self._use(network, device)

    @classmethod
    def of(cls, network: VGGStages, device: str = "cpu") -> DISTS:
        """The metric with another network, as tests need it."""
        metric = cls.__new__(cls)
        metric._use(network, device)
        return metric

    def _use(self, network: VGGStages, device: str) -> None:
        self._device = device
        self._network = network.to(device).eval().requires_grad_(False)

    def __call__(
        self,
        result: NDArray[np.uint8],
        reference: NDArray[np.uint8],
        *,
        crop: int = 0,
    ) -> float:
        """Compare two pictures.

        Args:
            result: (H, W, 3) RGB uint8.
            reference: the same size.
            crop: pixels left out on every side.

        Returns:
            The distance, the same in both directions.

        Raises:
            ValueError: if sizes differ, these are no pictures, or less than 32x32
                pixels remain.
        """
        if result.shape != reference.shape:
            raise ValueError(f"sizes differ: {result.shape} and {reference.shape}")
        with torch.inference_mode():
            a, b = (self._network(self._tensor(p, crop)) for p in (result, reference))
            # rounding takes equal pictures just below zero
            return max(0.0, float(self._network.compare(a, b)))

    def _tensor(self, picture: NDArray[np.uint8], crop: int) -> Tensor:
        return as_tensor(picture, "DISTS", crop, self._device) / 255
