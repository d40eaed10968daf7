"""What a stage of training takes from the checkpoints of those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from upframe.errors import WeightsError


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of a state dict whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@contextmanager
def building(what: str, path: Path, recipe: str) -> Iterator[None]:
    """Around what makes a network of a checkpoint.

    Args:
        what: the network, for the message.
        path: the checkpoint.
        recipe: name of one that trains such a network.

    Raises:
        WeightsError: it cannot be made: arguments or weights are missing or fit none.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        # torch lists what does not fit below a line that names the class alone
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise WeightsError(
            f"{path} holds no {what}: {reason}.",
            f"Train one with recipes/{recipe}.yaml.",
        ) from error
