"""Features of networks that recognise objects, as losses with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.metrics.dists import VGGStages
from upframe.metrics.lpips import AlexLayers
from upframe.training.recipe import VGGLayer
from upframe.weights.checkpoints import read_checkpoint

_VGG16: tuple[tuple[VGGLayer, tuple[int, ...]], ...] = (
    ("conv1_2", (0, 2)),
    ("conv2_2", (5, 7)),
    ("conv3_3", (10, 12, 14)),
    ("conv4_3", (17, 19, 21)),
    ("conv5_3", (24, 26, 28)),
)
"""Last layer of each stage, and the numbers of its layers in torchvision."""
_CHANNELS = (64, 128, 256, 512, 512)


def _fill(
    network: nn.Module, path: Path, what: str, beginnings: tuple[str, ...]
) -> None:
    """Load the entries of a file that begin so, and freeze the network.

    Raises:
        WeightsError: if the file cannot be read or is of another network.
    """
    state = read_checkpoint(path).state
    state = {k: v for k, v in state.items() if k.startswith(beginnings)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not hold the weights of {what}.",
            "docs/training.md says which file it is.",
        ) from error
    network.eval().requires_grad_(False)


class LPIPSDistance(nn.Module):
    """LPIPS (AlexNet, version 0.1), mean over the batch.

    Args:
        weights: of AlexNet and of LPIPS.
        shift: the most rows and columns that are cut off first, drawn in each call.

    Raises:
        WeightsError: if the file cannot be read or is of another network.
    """

    def __init__(self, weights: Path, shift: int = 0) -> None:
        super().__init__()
        self.network = AlexLayers()
        self.shift = shift
        _fill(self.network, weights, "LPIPS (alex, v0.1)", ("features.", "lin"))

    def forward(self, result: Tensor, target: Tensor) -> Tensor:
        """Two (B, 3, h, w) in [0, 1], sides of 32 and more, to a number."""
        if self.shift:
            down, right = torch.randint(self.shift + 1, (2,)).tolist()
            result, target = result[..., down:, right:], target[..., down:, right:]
        ours = self.network(result * 2 - 1)
        with torch.no_grad():
            theirs = self.network(target * 2 - 1)
        parts = [
            ((a - b).square() * weight).sum(1).mean()
            for a, b, weight in zip(ours, theirs, self.network.weights(), strict=True)
        ]
        return torch.stack(parts).sum()


class DISTSDistance(nn.Module):
    """DISTS, mean over the batch or over some of it.

    Args:
        weights: of VGG16 and of DISTS.
        images: how many are drawn of a batch; None for all.

    Raises:
        WeightsError: if the file cannot be read or is of another network.
    """

    def __init__(self, weights: Path, images: int | None = None) -> None:
        super().__init__()
        self.network = VGGStages()
        self.images = images
        _fill(self.network, weights, "DISTS", ("features.", "alpha", "beta"))

    def forward(self, result: Tensor, target: Tensor) -> Tensor:
        """Two (B, 3, h, w) in [0, 1], sides of 16 and more, to a number."""
        chosen = torch.randperm(len(result))[: self.images].to(result.device)
        ours = self.network(result[chosen])
        with torch.no_grad():
            theirs = self.network(target[chosen])
        return self.network.compare(ours, theirs).mean()


class VGG16(nn.Module):
    """The convolutions of VGG16 up to a layer."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        before = 3
        for (_, numbers), channels in zip(_VGG16, _CHANNELS, strict=True):
            for number in numbers:
                self.features[str(number)] = nn.Conv2d(before, channels, 3, padding=1)
                before = channels
        for name, values in (
            ("mean", (0.485, 0.456, 0.406)),
            ("std", (0.229, 0.224, 0.225)),
        ):
            tensor = torch.tensor(values).view(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> dict[VGGLayer, Tensor]:
        """(B, 3, h, w) in [0, 1], sides of 16 and more, to the last map of each stage
        before its rectification."""
        maps: dict[VGGLayer, Tensor] = {}
        x = (x - self.mean) / self.std
        for stage, (name, numbers) in enumerate(_VGG16):
            if stage:
                x = F.max_pool2d(F.relu(x), 2)
            for index, number in enumerate(numbers):
                x = self.features[str(number)](F.relu(x) if index else x)
            maps[name] = x
        return maps


class PerceptualDistance(nn.Module):
    """Weighted absolute differences of VGG16's features, mean over each map."""

    def __init__(self, weights: Path, layers: Mapping[VGGLayer, float]) -> None:
        """Read the weights.

        Raises:
            WeightsError: if the file cannot be read or is of another network.
        """
        super().__init__()
        self.layers = dict(layers)
        self.network = VGG16()
        _fill(self.network, weights, "VGG16", ("features.",))

    def forward(self, result: Tensor, target: Tensor) -> Tensor:
        """Two (B, 3, h, w) in [0, 1], sides of 16 and more, to a number."""
        ours = self.network(result)
        with torch.no_grad():
            theirs = self.network(target)
        parts = [
            weight * F.l1_loss(ours[name], theirs[name])
            for name, weight in self.layers.items()
        ]
        return torch.stack(parts).sum()
