"""The contract of a system: everything that upframe asks of it, in one object.

A system is added by one package with a ``SystemSpec`` (docs/adding-a-system.md). The
rest of upframe finds specs in `upframe.systems.registry` and reads their fields; it
knows no system by name.

======================= =============================================================
reader                  fields
======================= =============================================================
``weights``             ``matches``, ``infer_config``, ``declared``, ``build``,
                        ``requirements``, ``scale``, ``folder``
``runtimes``            ``runtime``, ``cuda_precision``, ``folder``, ``extra``
``training``            ``tasks``
``export``              ``export``
======================= =============================================================

Importing a spec must import no torch: functions of it import what they need when they
are called, and `Lazy` names things in modules that are expensive to import or lie above
``systems``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from upframe.errors import WeightsError
from upframe.systems.names import Tiling

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

Shapes = Mapping[str, tuple[int, ...]]
"""Names of a state dict's tensors and their shapes."""

Config = Mapping[str, Any]
"""Arguments that ``build`` takes; JSON can hold all of them."""


@dataclass(frozen=True)
class Lazy:
    """A callable that is imported when it is called first.

    Equal entries are equal. An entry that does not exist raises ``ImportError`` or
    ``AttributeError`` at the call.
    """

    entry: str
    """``package.module:name``, where the name may have dots."""

    def load(self) -> Any:
        """The object that the entry names."""
        module, _, name = self.entry.partition(":")
        return attrgetter(name)(import_module(module))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object that the entry names."""
        return self.load()(*args, **kwargs)


@dataclass(frozen=True)
class Requirements:
    """What a network needs of the engine; the fields of the card of the same name."""

    multiple: int = 1
    """Input height and width are padded to a multiple of this."""
    min_size: int = 1
    """Smallest input height and width, in pixels."""
    overlap: int = 16
    """Input pixels that neighbouring tiles share so that no seam shows."""
    bytes_per_pixel: int = 4096
    """Peak working memory per input pixel, in bytes."""
    gflops_per_megapixel: float = 0.0
    """Billions of floating-point operations per million input pixels and frame."""
    context: int = 0
    """Frames that a chunk needs on both sides of its core; 0 for image models."""
    lookahead: int | None = None
    """Later frames that an output depends on; None for image models, and for systems
    that need a chunk as a whole."""
    masked: bool = False
    """Whether it takes a keep ratio."""
    segment: int = 1
    """Frames that are computed together."""
    seeded: bool = False
    """Whether it samples noise and takes a seed."""
    tiling: Tiling = "pictures"
    """What can be done with frames that do not fit into memory."""
    base_bytes: int = 0
    """Memory of its libraries, in bytes; 0 for those of the core."""


@dataclass(frozen=True)
class TrainingTask:
    """One network that recipes can train: a system, or a stage on the way to it."""

    name: str
    """As recipes name it, ``system.name``: small letters, digits, hyphens."""
    build: Callable[..., nn.Module]
    """Makes the network from ``system.args`` of the recipe. It has a method
    ``training_step(low, high) -> StepResult`` (`upframe.systems.training_step`), and
    ``export_state()`` if its result is not its own state dict."""
    clips: bool = False
    """Whether it takes several frames: (B, T, 3, h, w) instead of (B, 3, h, w)."""
    own_losses: bool = False
    """Whether its steps bring all losses that they need (``loss: own``)."""
    scale: int = 4
    """Output size over input size, unless the argument ``scale`` gives it."""
    checkpointing: bool = False
    """Whether it has a switch ``checkpointing`` to recompute its blocks backwards."""


@dataclass(frozen=True)
class FolderLayout:
    """A system of full size as a folder of components."""

    marker: str
    """File or folder by which it is recognised."""
    load: Callable[..., nn.Module]
    """The network of a folder, on the CPU; called with the folder, and by keyword with
    ``dtype``."""
    skeleton: Callable[[Path], Any]
    """The same on torch's meta device, without reading weights."""
    requirements: Callable[[Any], Requirements]
    """Of a skeleton."""
    cuda_precision: str = "bf16"
    """What it runs in on CUDA: ``fp32``, ``fp16`` or ``bf16``."""


@dataclass(frozen=True)
class SystemSpec:
    """A system, as all parts of upframe see it."""

    name: str
    """On cards and in recipes: small letters, digits, hyphens."""
    title: str
    """For people: ``MIA-VSR``."""
    paper: str
    """Authors, title, where published; empty for unpublished systems."""
    build: Callable[[Config], nn.Module]
    """The network with these arguments, on torch's current default device. It maps
    (B, T, 3, h, w) to (B, T, 3, s*h, s*w), RGB in [0, 1]; image models take
    (B, 3, h, w), too."""
    matches: Callable[[Shapes], bool]
    """Whether a state dict is one of this system; looks at a few typical keys."""
    requirements: Callable[[Config, Shapes], Requirements]
    """What the network with these arguments and shapes needs."""
    infer_config: Callable[[Shapes], dict[str, Any]] | None = None
    """Arguments of ``build`` from the shapes. None where the file has to declare them.

    Raises ``WeightsError`` where tensors are missing or fit no network.
    """
    declared: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    """Arguments that shapes do not determine, each with a check of a declared value."""
    scale: int | None = None
    """The system's only scale; None where the argument ``scale`` gives it."""
    runtime: Callable[..., Any] = Lazy("upframe.runtimes.torch:TorchRuntime.open")
    """Makes the ``Runtime`` that carries out the network in torch; called with the
    card, the network, the ``Choice`` of device and precision, and ``RunOptions``. The
    default is for image models. Tiling, masks and carried state are what the runtime
    and its sessions declare; see `upframe.runtimes.base`."""
    cuda_precision: str = "fp32"
    """What weight files run in on CUDA: ``fp32``, ``fp16`` or ``bf16``."""
    extra: str = "torch"
    """The extra of the installation that it needs."""
    tasks: tuple[TrainingTask, ...] = ()
    """What recipes can train of it."""
    export: Callable[..., Any] | None = None
    """Writes the network as ONNX; called with the network, the path, and by keyword
    with ``int8``. None for systems that cannot be exported."""
    folder: FolderLayout | None = None
    """The layout of its full-size folders; None if there are none."""

    def scale_of(self, config: Config) -> int:
        """Output size over input size of the network with these arguments."""
        return self.scale if self.scale is not None else int(config["scale"])

    def read_config(self, shapes: Shapes, declared: Config) -> dict[str, Any]:
        """Arguments from the shapes, and from the file where shapes do not determine
        them.

        Args:
            shapes: the state dict.
            declared: what the file declares; only arguments that shapes do not
                determine are taken, or all where nothing can be inferred.

        Raises:
            WeightsError: the shapes fit no network of the system, a declared argument
                is invalid, or nothing is declared where it has to be.
        """
        if self.infer_config is None:
            if not declared:
                raise WeightsError(
                    f"The file does not declare the sizes of its {self.title}.",
                    "Keep the metadata that upframe's weight files carry; full-size "
                    "systems in folders have functions of their own to load them.",
                )
            return dict(declared)
        config = self.infer_config(shapes)
        for name, is_valid in self.declared.items():
            if name not in declared:
                continue
            if not is_valid(declared[name]):
                raise WeightsError(
                    f"A {self.title} network cannot have {name} = {declared[name]!r}.",
                    "Check the config that was saved with the weights.",
                )
            config[name] = declared[name]
        return config
