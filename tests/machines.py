"""Registries as they are on other machines: what is found there is made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from upframe.runtimes.registry import RUNTIMES
from upframe.runtimes.spec import DeviceUnavailableError, RuntimeSpec


def machine(**gpus: int | None) -> Mapping[str, RuntimeSpec]:
    """The registry of a machine.

    Args:
        gpus: by runtime, how many GPUs it can use; None where its package is missing.
    """
    return {name: _seeing(spec, gpus.get(name, 0)) for name, spec in RUNTIMES.items()}


def _seeing(spec: RuntimeSpec, gpus: int | None) -> RuntimeSpec:
    if gpus is None:
        return replace(spec, package="not_a_package")
    devices = tuple(f"cuda:{number}" for number in range(gpus))

    def require(device: str) -> None:
        if device != "cpu" and device not in devices:
            raise DeviceUnavailableError(f"{spec.name} sees no {device}.", "Use cpu.")

    return replace(spec, found=lambda: (*devices[:1], "cpu"), require=require)
