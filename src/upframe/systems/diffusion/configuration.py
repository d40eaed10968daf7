"""Small diffusion systems from one configuration, ready for their weights.

A full-size system is put together from folders of pretrained components. A small one,
trained here, is one file: weights and, as JSON, the sizes of all its parts. The package
of each system has a module ``configuration`` whose ``build_*`` function takes that
configuration as a mapping, checks it, and makes the module with random weights, on
torch's current default device. Its state dict is what the file holds.

All have our own autoencoder (`upframe.systems.diffusion.autoencoder`) and upscale 4
times. LoRA is merged before weights are stored: no configuration has adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.systems.diffusion.autoencoder import AutoencoderConfig


class SystemSizes(BaseModel):
    """What all configurations have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    autoencoder: AutoencoderConfig
    """Fields of `AutoencoderConfig`, ``scaling_factor`` among them."""


Sizes = TypeVar("Sizes", bound=SystemSizes)


def read_sizes(kind: type[Sizes], title: str, config: Mapping[str, Any]) -> Sizes:
    """A configuration, checked.

    Args:
        kind: its class.
        title: name of the system, for messages.
        config: the fields.

    Raises:
        WeightsError: a field is missing, unknown or invalid.
    """
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        raise invalid(title, first_error(error)) from error
    except UsageError as error:
        raise invalid(title, error.message) from error


def build_backbone(name: str, arguments: Mapping[str, Any]) -> Any:
    """A backbone of diffusers by the name of its class.

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: its class does not take the arguments.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError("A diffusion system", "diffusion") from error
    try:
        return getattr(diffusers, name)(**arguments)
    # invalid arguments: unknown names, sides that do not divide
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise invalid(name, text) from error


def check_scale(title: str, scale: int) -> None:
    """Refuse another scale than 4."""
    if scale != 4:
        raise invalid(title, f"a scale of {scale} instead of 4")


def first_error(error: ValidationError) -> str:
    """Place and message of the first of pydantic's errors."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def invalid(what: str, why: str) -> WeightsError:
    """The error for a configuration that makes no network."""
    return WeightsError(
        f"The configuration of this {what} is invalid: {why.rstrip('.')}.",
        "Check the config that was saved with the weights.",
    )
