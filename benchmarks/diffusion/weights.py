"""Where the weights of a claim come from: those that ship, and those to compare with.

What a system is compared with does not ship. It is trained by the recipe of the system
with a setting changed, and stays in ``runs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from torch import nn

import upframe
from upframe.errors import WeightsError
from upframe.training.networks import SYSTEMS
from upframe.weights.checkpoints import read_checkpoint, read_content
from upframe.weights.detection import by_name

ROOT = Path(__file__).resolve().parents[2]

TRAINED_BY: Mapping[str, str] = {
    "ultravsr-nano": "recipes/ultravsr-nano.yaml",
    "ultravsr-nano-still": "recipes/ultravsr-nano.yaml "
    "--set name=ultravsr-nano-still --set system.args.rts=false",
    "ultravsr-nano-prior": "recipes/ultravsr-nano-prior.yaml",
    "oasis-nano": "recipes/oasis-nano.yaml",
    "oasis-nano-global": "recipes/oasis-nano.yaml",
    "liftvsr-nano": "recipes/liftvsr-nano.yaml",
    "liftvsr-nano-no-cache": "recipes/liftvsr-nano.yaml "
    "--set name=liftvsr-nano-no-cache --set system.args.memory=false",
    "liftvsr-nano-plain": "recipes/liftvsr-nano.yaml "
    "--set name=liftvsr-nano-plain --set system.args.token_flow=false",
    "patchscaler-nano": "recipes/patchscaler-nano.yaml",
}
"""Weights to the arguments of ``upframe train`` that make them."""


class Weights:
    """Finds weights by name.

    Args:
        given: name to file, before anything else is looked for.
        runs: folder of training runs.
    """

    def __init__(
        self, given: Mapping[str, str] | None = None, runs: Path = ROOT / "runs"
    ) -> None:
        self._given = dict(given or {})
        self._runs = runs

    def source(self, name: str) -> str:
        """The name of a model that ships, or a weight file.

        First what was given, then what ships, then ``runs/NAME/NAME.safetensors`` and
        ``runs/NAME/last.ckpt``.

        Raises:
            WeightsError: there are none.
        """
        if name in self._given:
            return self._given[name]
        if any(card.name == name for card in upframe.list_models()):
            return name
        for file in (f"{name}.safetensors", "last.ckpt"):
            if (self._runs / name / file).is_file():
                return str(self._runs / name / file)
        raise WeightsError(
            f"There are no weights of {name}.",
            f"Train them: upframe train {TRAINED_BY[name]}; or give "
            f"--weights {name}=FILE.",
        )

    def network(self, name: str) -> nn.Module:
        """The network, in eval mode.

        Raises:
            WeightsError: there are no weights, or they cannot be used.
        """
        source = self.source(name)
        if Path(source).suffix == ".ckpt":
            return from_checkpoint(Path(source))
        return upframe.load(source)


def from_checkpoint(path: Path) -> nn.Module:
    """The finished system of a checkpoint of a training task, averaged weights.

    Raises:
        WeightsError: it is none, or what its recipe names is not there.
    """
    checkpoint = read_checkpoint(path)
    try:
        recipe = json.loads(read_content(path)["recipe"])["system"]["name"]
        system = SYSTEMS[recipe]
        task = getattr(import_module(system.module), system.name)(**checkpoint.declared)
        task.load_state_dict(checkpoint.state)
        config, state = task.shipped()
        network = by_name(recipe).build(config)
        network.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is not the checkpoint of a system: {str(error).splitlines()[0]}.",
            "Give the last stage of its recipes.",
        ) from error
    return network.eval()
