"""Where the weights of a claim come from: those that ship, and those to compare with.

What a system is compared with does not ship. It is trained by the recipe of the system
with a setting changed, and stays in ``runs``; the prior is in ``recipes/checkpoints``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

import upframe
from upframe.errors import WeightsError
from upframe.systems.names import canonical_name
from upframe.systems.registry import find_spec, training_tasks
from upframe.weights.checkpoints import read_checkpoint, read_content

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "recipes" / "checkpoints"


@dataclass(frozen=True)
class Origin:
    """How weights come about where they do not ship."""

    train: str
    """Arguments of ``upframe train`` that make them, after all stages before."""
    runs: tuple[str, ...]
    """Folders in ``runs`` where they are looked for, the best first."""


def _origin(name: str, recipe: str, changed: str = "") -> Origin:
    train = f"recipes/{recipe}.yaml"
    if changed:
        train += f" --set name={name} --set system.args.{changed}"
    return Origin(train, (name if changed else recipe,))


ORIGINS: Mapping[str, Origin] = {
    "ultravsr-nano": _origin("ultravsr-nano", "ultravsr-nano"),
    "ultravsr-nano-still": _origin("ultravsr-nano-still", "ultravsr-nano-still"),
    "ultravsr-nano-prior": _origin("ultravsr-nano-prior", "ultravsr-nano-prior"),
    "oasis-nano": _origin("oasis-nano", "oasis-nano-routed"),
    # as many steps as the routed ones; else the stage that those started from
    "oasis-nano-global": Origin(
        _origin("oasis-nano-global", "oasis-nano-routed", "routing=null").train,
        ("oasis-nano-global", "oasis-nano"),
    ),
    "liftvsr-nano": _origin("liftvsr-nano", "liftvsr-nano"),
    "liftvsr-nano-no-cache": _origin(
        "liftvsr-nano-no-cache", "liftvsr-nano", "memory=false"
    ),
    "liftvsr-nano-plain": _origin(
        "liftvsr-nano-plain", "liftvsr-nano", "token_flow=false"
    ),
    "patchscaler-nano": _origin("patchscaler-nano", "patchscaler-nano"),
}
"""By name."""


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

        First what was given, then what ships, then ``RUN.safetensors`` and
        ``last.ckpt`` in the folders of the runs, then what the repository keeps.

        Raises:
            WeightsError: there are none.
        """
        if name in self._given:
            return self._given[name]
        if any(card.name == name for card in upframe.list_models()):
            return name
        origin = ORIGINS[name]
        for run in origin.runs:
            for file in (f"{run}.safetensors", "last.ckpt"):
                if (self._runs / run / file).is_file():
                    return str(self._runs / run / file)
        if (KEPT / f"{name}.ckpt").is_file():
            return str(KEPT / f"{name}.ckpt")
        raise WeightsError(
            f"There are no weights of {name}.",
            f"Train them: upframe train {origin.train}; or give --weights {name}=FILE.",
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
        task = training_tasks()[canonical_name(recipe)].build(**checkpoint.declared)
        task.load_state_dict(checkpoint.state)
        config, state = task.export_state()
        network = find_spec(recipe).build(config)
        network.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is not the checkpoint of a system: {str(error).splitlines()[0]}.",
            "Give the last stage of its recipes.",
        ) from error
    return network.eval()
