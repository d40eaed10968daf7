"""All systems that this installation knows: ours, and those of other packages.

Another package adds its systems by an entry point of the group ``upframe.systems``,
whose value is a `SystemSpec`::

    [project.entry-points."upframe.systems"]
    my-system = "my_package.spec:SPEC"

An entry point that cannot be used is logged as a warning and kept in
`broken_entry_points`; everything else goes on without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from upframe.errors import WeightsError
from upframe.systems.diffusion.spec import TASKS as SHARED_TASKS
from upframe.systems.ditn.spec import SPEC as DITN
from upframe.systems.liftvsr.spec import SPEC as LIFTVSR
from upframe.systems.mia_vsr.spec import SPEC as MIA_VSR
from upframe.systems.mia_vsr_lite.spec import SPEC as MIA_VSR_LITE
from upframe.systems.names import canonical_name
from upframe.systems.oasis.spec import SPEC as OASIS
from upframe.systems.patchscaler.spec import SPEC as PATCHSCALER
from upframe.systems.spec import FolderLayout, Shapes, SystemSpec, TrainingTask
from upframe.systems.ultravsr.spec import SPEC as ULTRAVSR

GROUP = "upframe.systems"
"""Group of the entry points."""

_OURS = (DITN, MIA_VSR, MIA_VSR_LITE, ULTRAVSR, OASIS, LIFTVSR, PATCHSCALER)
"""In the order in which detection tries them."""

_log = logging.getLogger(__name__)
_registered: dict[str, SystemSpec] = {}
"""Specs of `registered`, which go first."""


def all_specs() -> tuple[SystemSpec, ...]:
    """All systems, in the order in which detection tries them."""
    found = {spec.name: spec for spec in (*_OURS, *_foreign()[0])}
    return tuple({**_registered, **found, **_registered}.values())


def broken_entry_points() -> Mapping[str, str]:
    """Entry points of other packages that could not be used, each with the reason."""
    return _foreign()[1]


def find_spec(name: str) -> SystemSpec:
    """The spec of a system.

    Args:
        name: in the spelling of this or of an earlier version.

    Raises:
        WeightsError: there is no such system in this installation.
    """
    wanted = canonical_name(name)
    specs = all_specs()
    for spec in specs:
        if spec.name == wanted:
            return spec
    raise WeightsError(
        f"There is no system {name!r} in this version.",
        f"Known: {', '.join(spec.name for spec in specs)}.",
    )


def detect(shapes: Shapes) -> SystemSpec | None:
    """The system that a state dict belongs to; None if it is of no known one."""
    return next((spec for spec in all_specs() if spec.matches(shapes)), None)


def detect_folder(folder: Path) -> tuple[SystemSpec, FolderLayout] | None:
    """The system whose components a folder holds, with its layout; None for none."""
    for spec in all_specs():
        if spec.folder is not None and (folder / spec.folder.marker).exists():
            return spec, spec.folder
    return None


def training_tasks() -> dict[str, TrainingTask]:
    """Everything that recipes can train, by name."""
    tasks = [*SHARED_TASKS, *(task for spec in all_specs() for task in spec.tasks)]
    return {task.name: task for task in tasks}


def forget_entry_points() -> None:
    """Look for entry points again: packages were installed meanwhile."""
    _foreign.cache_clear()


@contextmanager
def registered(spec: SystemSpec) -> Iterator[SystemSpec]:
    """Know a system for a while, in place of one of the same name if there is one.

    For tests and notebooks; packages have entry points.
    """
    before = _registered.get(spec.name)
    _registered[spec.name] = spec
    try:
        yield spec
    finally:
        del _registered[spec.name]
        if before is not None:
            _registered[spec.name] = before


@cache
def _foreign() -> tuple[tuple[SystemSpec, ...], dict[str, str]]:
    """Specs of other packages, and the entry points that give none."""
    from importlib.metadata import entry_points  # costly, and not always needed

    taken = {spec.name for spec in _OURS}
    specs: list[SystemSpec] = []
    broken: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        try:
            spec = entry.load()
        # another package's import may fail in any way
        except Exception as error:
            broken[entry.name] = f"{type(error).__name__}: {error}"
            continue
        if not isinstance(spec, SystemSpec):
            broken[entry.name] = f"{entry.value} is no SystemSpec"
        elif spec.name in taken:
            broken[entry.name] = f"there is another system named {spec.name}"
        else:
            taken.add(spec.name)
            specs.append(spec)
    for name, reason in broken.items():
        _log.warning(
            "The system %s of another package cannot be used: %s.", name, reason
        )
    return tuple(specs), broken
