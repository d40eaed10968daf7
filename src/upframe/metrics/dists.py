"""DISTS: structure and texture of two images, compared in the features of VGG16.

Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity" (IEEE
TPAMI 2020). The layers are written anew from the paper; the order of the weights is
that of the authors' release (MIT). Images are not resized first, as in their package;
some papers shrink the shorter side to 256 pixels, which gives other numbers. The
weights are read from a file that ``scripts/make_dists_weights.py`` makes. Importing
this module needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from upframe.errors import MissingExtraError

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from upframe.metrics.files import DISTS_FILE
    from upframe.metrics.networks import NetworkMetric
except ImportError as error:
    raise MissingExtraError("DISTS", "metrics") from error

FILE = DISTS_FILE

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
        """The image and five maps.

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

    def compare(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
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


class DISTS(NetworkMetric[VGGStages]):
    """The metric: 0 for equal images, larger is worse, seldom above 0.6.

    Its features are the image itself and five of (1, C, h, w), 210 MB for 720x576.
    """

    NAME = "DISTS"
    FILE = FILE
    ADVICE = "Make the file with scripts/make_dists_weights.py."

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        """Between the features of two images.

        Raises:
            ValueError: if the images differ in size.
        """
        if a[0].shape != b[0].shape:
            raise ValueError("two images differ in size")
        with torch.inference_mode():
            # rounding takes equal images just below zero
            return max(0.0, float(self._network.compare(a, b)))

    @staticmethod
    def _build() -> VGGStages:
        return VGGStages()

    def _normalised(self, x: Tensor) -> Tensor:
        return x / 255
