"""The networks that recipes name: made, and given weights."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import nn

from upframe.errors import UsageError
from upframe.nn.layout import channels_last
from upframe.training.recipe import SystemConfig
from upframe.training.stages import part_of
from upframe.weights.checkpoints import read_checkpoint

_SYSTEMS = "upframe.systems"

FLOW = "spynet."
"""Beginning of the parameter names of flow networks."""


@dataclass(frozen=True)
class System:
    """Where the class of a system is, and what it takes."""

    module: str
    name: str
    clips: bool
    """Whether it looks at several frames: (B, T, 3, h, w) instead of (B, 3, h, w)."""


SYSTEMS = {
    "ditn": System("upframe.systems.ditn.model", "DITN", clips=False),
    "mia_vsr": System("upframe.systems.mia_vsr.model", "MIAVSR", clips=True),
    "mia_vsr_lite": System(
        "upframe.systems.mia_vsr_lite.model", "MIAVSRLite", clips=True
    ),
    "autoencoder": System(
        f"{_SYSTEMS}.diffusion.training", "AutoencoderTask", clips=False
    ),
    "degradation_estimator": System(
        f"{_SYSTEMS}.ultravsr.training.tasks", "EstimatorTask", clips=True
    ),
    "ultravsr_prior": System(
        f"{_SYSTEMS}.ultravsr.training.tasks", "PriorTask", clips=False
    ),
    "ultravsr": System(
        f"{_SYSTEMS}.ultravsr.training.tasks", "UltraVSRTask", clips=True
    ),
    "oasis": System(f"{_SYSTEMS}.oasis.training", "OASISTask", clips=True),
    "pixart_prior": System(
        f"{_SYSTEMS}.liftvsr.training.tasks", "PriorTask", clips=False
    ),
    "liftvsr": System(f"{_SYSTEMS}.liftvsr.training.tasks", "LiftVSRTask", clips=True),
    "texture_classifier": System(
        f"{_SYSTEMS}.patchscaler.training", "TextureTask", clips=False
    ),
    "patchscaler_restoration": System(
        f"{_SYSTEMS}.patchscaler.training", "RestorationTask", clips=False
    ),
    "patchscaler": System(
        f"{_SYSTEMS}.patchscaler.training", "PatchScalerTask", clips=False
    ),
}
"""By the name in the recipe; imported when used."""


def build_network(config: SystemConfig) -> nn.Module:
    """The network of a recipe with its random start.

    Raises:
        UsageError: if the arguments do not fit its constructor, or the system is not in
            this installation.
    """
    system = SYSTEMS[config.name]
    try:
        make = getattr(import_module(system.module), system.name)
    except ModuleNotFoundError as error:
        if error.name != system.module:
            raise
        raise UsageError(
            f"This version of upframe has no system {config.name}."
        ) from error
    try:
        network = make(**config.args)
    except TypeError as error:
        raise UsageError(f"system.args of the recipe do not fit: {error}.") from error
    assert isinstance(network, nn.Module)
    channels_last(network)
    return network


def scale_of(config: SystemConfig) -> int:
    """Output size over input size; 4 for systems without that argument."""
    return int(config.args.get("scale", 4))


def start_from(network: nn.Module, path: Path, prefix: str = "") -> int:
    """Put weights of a file into a network.

    Args:
        network: is changed.
        path: of the weights; averaged ones where the file has both.
        prefix: of the part of the network that the file is for.

    Returns:
        How many entries of that part the file lacks; they keep their values.

    Raises:
        WeightsError: if the file cannot be read.
        UsageError: if it has entries that the network lacks, or of other shapes.
    """
    want = part_of(network.state_dict(), prefix)
    have = read_checkpoint(path).state
    wrong = [
        key
        for key, value in have.items()
        if key not in want or want[key].shape != value.shape
    ]
    if wrong:
        raise UsageError(
            f"{len(wrong)} of the {len(have)} weights in {path} do not fit the network "
            f"of the recipe, the first is {wrong[0]}.",
            "Start from a network with the same sizes and no more layers.",
        )
    network.load_state_dict(
        {prefix + key: value for key, value in have.items()}, strict=False
    )
    return len(want.keys() - have.keys())
