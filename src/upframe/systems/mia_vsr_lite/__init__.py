"""MIA-VSR lite: the ideas of MIA-VSR in a recurrent network for a CPU."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite
    from upframe.systems.mia_vsr_lite.network import State

__all__ = ["MIAVSRLite", "State"]

__getattr__ = lazy_names(__name__, {"MIAVSRLite": "model", "State": "network"})
