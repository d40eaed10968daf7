"""PatchScaler: a patch-wise diffusion transformer, steps by difficulty."""

from typing import TYPE_CHECKING

from upframe.systems.lazy import lazy_names

if TYPE_CHECKING:
    from upframe.systems.patchscaler.config import Options, PatchScalerConfig, Sizes
    from upframe.systems.patchscaler.model import PatchScaler, Session
    from upframe.systems.patchscaler.texture_memory import TextureMemory

__all__ = [
    "Options",
    "PatchScaler",
    "PatchScalerConfig",
    "Session",
    "Sizes",
    "TextureMemory",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Options": "config",
        "PatchScaler": "model",
        "PatchScalerConfig": "config",
        "Session": "model",
        "Sizes": "config",
        "TextureMemory": "texture_memory",
    },
)
