"""LiftVSR: an image diffusion transformer that restores videos by segments."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.liftvsr.files import LiftVSRConfig
    from upframe.systems.liftvsr.model import LiftVSR
    from upframe.systems.liftvsr.stream import Options, Session

__all__ = ["LiftVSR", "LiftVSRConfig", "Options", "Session"]

__getattr__ = lazy_names(
    __name__,
    {
        "LiftVSR": "model",
        "LiftVSRConfig": "files",
        "Options": "stream",
        "Session": "stream",
    },
)
