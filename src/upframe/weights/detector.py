"""What loading must know of a system to take weights of unknown origin for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from upframe.weights.card import Tiling

Shapes = Mapping[str, tuple[int, ...]]
"""Names of a state dict's tensors and their shapes."""


@dataclass(frozen=True)
class Needs:
    """What a network asks of the runtime; the fields of the card of the same name."""

    multiple: int
    min_size: int
    overlap: int
    bytes_per_pixel: int
    gflops_per_megapixel: float
    context: int = 0
    lookahead: int | None = None
    masked: bool = False
    segment: int = 1
    seeded: bool = False
    tiling: Tiling = "pictures"
    base_bytes: int = 0


@dataclass(frozen=True)
class Detector:
    """Everything that loading must know of one system."""

    system: str
    """Name on model cards: ``ditn``."""
    title: str
    """Name for people: ``DITN``."""
    matches: Callable[[Shapes], bool]
    """Whether the keys are those of the system; looks at few, typical ones."""
    deduce: Callable[[Shapes], dict[str, Any]] | None
    """Constructor's arguments from the shapes; None where the file must say them.

    Raises ``WeightsError`` where shapes are missing or fit no network.
    """
    hidden: Mapping[str, Callable[[Any], bool]]
    """Arguments that no shape tells, each with a check of a declared value."""
    build: Callable[[Mapping[str, Any]], nn.Module]
    """The network with these arguments, on torch's current default device."""
    needs: Callable[[Mapping[str, Any], Shapes], Needs]
    """What the network with these arguments and shapes needs."""
    scale: int | None = None
    """The system's only scale; None where the argument ``scale`` says it."""

    def scale_of(self, config: Mapping[str, Any]) -> int:
        """Output size over input size of the network with these arguments."""
        return self.scale if self.scale is not None else int(config["scale"])
