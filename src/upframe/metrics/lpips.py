"""LPIPS: distance of two images in features of AlexNet, fitted to human judgements.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
(CVPR 2018), network ``alex``, version 0.1, linear layers included: what papers call
LPIPS where they say no more. The layers are written anew from the paper; names of the
parameters follow the authors' release (BSD-2-Clause), the weights are read from a file.
Importing this module needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from upframe.errors import MissingExtraError

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from upframe.metrics.files import LPIPS_FILE
    from upframe.metrics.networks import NetworkMetric
except ImportError as error:
    raise MissingExtraError("LPIPS", "metrics") from error

FILE = LPIPS_FILE

_CHANNELS = (64, 192, 384, 256, 256)


class AlexLayers(nn.Module):
    """The convolutions of AlexNet and a weight for each of their channels."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        convolutions = {
            0: nn.Conv2d(3, 64, 11, stride=4, padding=2),
            3: nn.Conv2d(64, 192, 5, padding=2),
            6: nn.Conv2d(192, 384, 3, padding=1),
            8: nn.Conv2d(384, 256, 3, padding=1),
            10: nn.Conv2d(256, 256, 3, padding=1),
        }
        self.features = nn.ModuleDict({str(k): v for k, v in convolutions.items()})
        for number, channels in enumerate(_CHANNELS):
            # the authors have a dropout layer before it
            lin = nn.Module()
            lin.model = nn.ModuleDict({"1": nn.Conv2d(channels, 1, 1, bias=False)})
            self.add_module(f"lin{number}", lin)
        for name, values in (
            ("shift", (-0.030, -0.088, -0.188)),
            ("scale", (0.458, 0.448, 0.450)),
        ):
            tensor = torch.tensor(values).view(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Five maps of a image.

        Args:
            x: (B, 3, h, w) RGB in [-1, 1], sides of 32 and more.

        Returns:
            Five of (B, C, h', w'), each position of length 1 over the channels, after
            each of the five rectified convolutions.
        """
        x = (x - self.shift) / self.scale
        maps = []
        for number, layer in enumerate(self.features.values()):
            if number in (1, 2):
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(layer(x))
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return maps

    def weights(self) -> list[Tensor]:
        """Five of (1, C, 1, 1), none of them negative in the authors' release."""
        return [
            self.get_parameter(f"lin{number}.model.1.weight")
            for number in range(len(_CHANNELS))
        ]


class LPIPS(NetworkMetric[AlexLayers]):
    """The metric: 0 for equal images, larger is worse, seldom above 1.

    Its features are five of (1, C, h, w).
    """

    NAME = "LPIPS"
    FILE = FILE
    ADVICE = f"It has to be AlexNet's, v0.1; the file is called {FILE}."

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        """Between the features of two images.

        Raises:
            ValueError: if the images differ in size.
        """
        if a[0].shape != b[0].shape:
            raise ValueError("two images differ in size")
        with torch.inference_mode():
            parts = [
                ((one - other).square() * weight).sum(1).mean()
                for one, other, weight in zip(
                    a, b, self._network.weights(), strict=True
                )
            ]
        return float(sum(parts))

    @staticmethod
    def _build() -> AlexLayers:
        return AlexLayers()

    def _normalised(self, x: Tensor) -> Tensor:
        return x / 127.5 - 1
