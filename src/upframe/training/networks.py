"""The networks that recipes name: made, and given weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from upframe.errors import UsageError
from upframe.nn.layout import channels_last
from upframe.systems.registry import training_tasks
from upframe.training.recipe import SystemConfig
from upframe.training.stages import part_of
from upframe.weights.checkpoints import read_checkpoint

FLOW = "spynet."
"""Beginning of the parameter names of flow networks."""


def build_network(config: SystemConfig) -> nn.Module:
    """The network of a recipe with its random start.

    Raises:
        UsageError: if the arguments do not fit its constructor.
    """
    task = training_tasks()[config.name]
    try:
        network = task.build(**config.args)
    except TypeError as error:
        raise UsageError(f"system.args of the recipe do not fit: {error}.") from error
    channels_last(network)
    return network


def scale_of(config: SystemConfig) -> int:
    """Output size over input size."""
    return int(config.args.get("scale", training_tasks()[config.name].scale))


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
