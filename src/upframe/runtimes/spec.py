"""What the registry knows of a runtime before it loads anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from upframe.errors import UsageError
from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Choice
from upframe.weights.card import ModelCard

Files = Mapping[str, Path]
"""Weight files of a model by format: ``onnx`` (and ``onnx-masked``, the second graph of
recurrent models; ``onnx-int8`` and ``onnx-int8-masked``, both in int8),
``safetensors``, ``pth``, ``pt``, ``ckpt``, or ``folder``, that of a diffusion system of
full size."""


class DeviceUnavailableError(UsageError):
    """A device that does not exist, or that a runtime cannot use here.

    Where the user named the device this is the error of the run; where ``auto`` chose
    it, the run falls back to the CPU and reports this message.
    """


def core(card: ModelCard) -> str:
    """The extra of runtimes whose package always comes with upframe."""
    del card
    return "core"


@dataclass(frozen=True)
class RunOptions:
    """What a runtime is opened with besides the choice."""

    threads: int | None = None
    """CPU threads; None for one per physical core."""
    keep_ratio: float | None = None
    """How much of a frame masked models compute at most, 0 to 1; None what they were
    trained for."""
    seed: int | None = None
    """Of the noise of diffusion models, 0 to 2**64 - 1; None for 0."""


@dataclass(frozen=True)
class RuntimeSpec:
    """A runtime in the registry.

    Nothing here loads the runtime's package, but for the functions, when they are
    called.
    """

    name: str
    title: str
    """As in sentences."""
    package: str
    """The module that it needs."""
    extra: Callable[[ModelCard], str]
    """The extra of upframe that installs what a model needs; `core` for none."""
    named: bool
    """Whether ``--runtime`` takes its name; otherwise the card alone decides."""
    runs: Callable[[ModelCard, Files], bool]
    """Whether these files, of this card, are for it."""
    found: Callable[[], tuple[str, ...]]
    """Devices that ``auto`` may take here, best first; ``cpu`` is the last."""
    require: Callable[[str], None]
    """Check a device that was named: ``cpu``, ``cuda:0``, ...

    Raises:
        DeviceUnavailableError: this installation cannot use it.
    """
    precisions: Callable[[ModelCard, Files, str], tuple[str, ...]]
    """Precisions of a card and its files on a device, best first."""
    open: Callable[[ModelCard, Files, Choice, RunOptions], Runtime]
    """Load a model.

    Raises:
        DeviceUnavailableError: the device of the choice cannot be used.
        WeightsError: a file is damaged or of another contract.
        MissingExtraError: the system needs packages that are not installed.
    """

    @property
    def installed(self) -> bool:
        """Whether its package is there; it is not loaded for that."""
        return find_spec(self.package) is not None
