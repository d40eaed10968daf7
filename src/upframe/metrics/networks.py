"""Shared by the metrics that compare images in the features of a network.

Importing this module needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.metrics.files import find_file
from upframe.metrics.images import as_tensor
from upframe.metrics.phases import phase_crops
from upframe.weights.loading import read_state

Network = TypeVar("Network", bound=nn.Module)


class NetworkMetric(ABC, Generic[Network]):
    """A distance of two images; 0 for equal ones, larger is worse."""

    NAME: ClassVar[str]
    """For messages."""
    FILE: ClassVar[str]
    """Name of the file with the weights."""
    ADVICE: ClassVar[str]
    """What to do where a file holds something else."""

    def __init__(self, path: Path | str | None = None, device: str = "cpu") -> None:
        """Load the network.

        Args:
            path: of the weights or their folder; None to look where
                :func:`upframe.metrics.files.find_file` says.
            device: where the network runs.

        Raises:
            WeightsError: the file is missing, damaged, or of another network.
        """
        self.path = find_file(self.FILE, self.NAME, path)
        network = self._build()
        try:
            network.load_state_dict(read_state(self.path))
        except RuntimeError as error:
            raise WeightsError(
                f"{self.path} does not hold the weights of {self.NAME}.", self.ADVICE
            ) from error
        self._use(network, device)

    @classmethod
    def of(cls, network: Network, device: str = "cpu") -> Self:
        """The metric with another network, as tests need it."""
        metric = cls.__new__(cls)
        metric._use(network, device)
        return metric

    @staticmethod
    @abstractmethod
    def _build() -> Network:
        """The network before its weights are there."""

    @abstractmethod
    def _normalised(self, x: Tensor) -> Tensor:
        """(1, 3, h, w) from 0 to 255 in the range that the network takes."""

    @abstractmethod
    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        """Between the features of two images.

        Raises:
            ValueError: if the images differ in size.
        """

    def features(self, image: NDArray[np.uint8], *, crop: int = 0) -> Sequence[Tensor]:
        """Features of one image, to be kept for several comparisons.

        Args:
            image: (H, W, 3) RGB uint8.
            crop: pixels left out on every side.

        Returns:
            Maps (1, C, h, w), as the network makes them.

        Raises:
            ValueError: if this is no image, or less than 32x32 pixels remain.
        """
        x = self._normalised(as_tensor(image, self.NAME, crop, self._device))
        with torch.inference_mode():
            maps: list[Tensor] = self._network(x)
        return maps

    def __call__(
        self,
        result: NDArray[np.uint8],
        reference: NDArray[np.uint8],
        *,
        crop: int = 0,
        phases: int = 1,
    ) -> float:
        """Compare two frames.

        Args:
            result: (H, W, 3) RGB uint8.
            reference: the same size.
            crop: pixels left out on every side.
            phases: over how many crops the distance is averaged (:func:`phase_crops`).

        Returns:
            The distance, the same in both directions.

        Raises:
            ValueError: as :meth:`features`, and if the sizes differ or ``phases`` is
                not 1 to 4.
        """
        if result.shape != reference.shape:
            raise ValueError(f"sizes differ: {result.shape} and {reference.shape}")
        distances = [
            self.distance(
                self.features(result, crop=border),
                self.features(reference, crop=border),
            )
            for border in phase_crops(crop, phases)
        ]
        return sum(distances) / len(distances)

    def _use(self, network: Network, device: str) -> None:
        self._device = device
        self._network = network.to(device).eval().requires_grad_(False)
