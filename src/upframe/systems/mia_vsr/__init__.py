"""MIA-VSR: masked intra- and inter-frame attention (CVPR 2024)."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.mia_vsr.model import MIAVSR, Restored

__all__ = ["MIAVSR", "Restored"]

__getattr__ = lazy_names(__name__, {"MIAVSR": "model", "Restored": "model"})
