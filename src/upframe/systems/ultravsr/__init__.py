"""UltraVSR: a pretrained diffusion model that restores a video in one step."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.ultravsr.degradation_estimator import (
        ClipIQA,
        DegradationEstimator,
    )
    from upframe.systems.ultravsr.model import Estimator, UltraVSR
    from upframe.systems.ultravsr.rts import (
        RecurrentTemporalShift,
        RTSAttention,
        RTSConv,
    )
    from upframe.systems.ultravsr.stream import Options, Session

__all__ = [
    "ClipIQA",
    "DegradationEstimator",
    "Estimator",
    "Options",
    "RTSAttention",
    "RTSConv",
    "RecurrentTemporalShift",
    "Session",
    "UltraVSR",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ClipIQA": "degradation_estimator",
        "DegradationEstimator": "degradation_estimator",
        "Estimator": "model",
        "Options": "stream",
        "RTSAttention": "rts",
        "RTSConv": "rts",
        "RecurrentTemporalShift": "rts",
        "Session": "stream",
        "UltraVSR": "model",
    },
)
