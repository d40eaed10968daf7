"""OASIS: a video diffusion transformer with routed attention, in one step."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.oasis.chunks import Chunking
    from upframe.systems.oasis.files import OasisConfig
    from upframe.systems.oasis.model import OASIS

__all__ = ["OASIS", "Chunking", "OasisConfig"]

__getattr__ = lazy_names(
    __name__, {"Chunking": "chunks", "OASIS": "model", "OasisConfig": "files"}
)
