"""An UltraVSR of full size from a folder: Stable Diffusion and one checkpoint.

The folder has Stable Diffusion's components in diffusers' layout (``unet/``, ...) and
beside them one file that makes it an UltraVSR: the authors', or one of
`upframe.systems.ultravsr.adapters`. An UltraVSR of full size asks CLIP-IQA how clean
its frames are, as its authors do."""

from __future__ import annotations

from pathlib import Path

import torch

from upframe.errors import WeightsError
from upframe.systems.ultravsr import degradation_estimator, pretrained
from upframe.systems.ultravsr.model import UltraVSR

_CHECKPOINTS = (".pkl", ".pth", ".pt", ".ckpt")


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> UltraVSR:
    """The system of a folder, on the CPU.

    Raises:
        UpframeError: CLIP-IQA is not installed.
        WeightsError: a component is missing, damaged, or does not fit.
    """
    checkpoint = _checkpoint(folder)
    # reports what is missing before gigabytes are read
    estimator = degradation_estimator.ClipIQA()
    return pretrained.from_pretrained(
        folder, checkpoint, dtype=dtype, estimator=estimator
    )


def skeleton(folder: Path) -> UltraVSR:
    """The same on the meta device.

    Raises:
        WeightsError: a component is missing or invalid.
    """
    _checkpoint(folder)
    return pretrained.skeleton(folder)


def _checkpoint(folder: Path) -> Path:
    found = [p for p in sorted(folder.iterdir()) if p.suffix in _CHECKPOINTS]
    if len(found) == 1:
        return found[0]
    what = ", ".join(p.name for p in found) or "none"
    raise WeightsError(
        f"{folder} holds a diffusion model, which becomes an UltraVSR by the "
        f"checkpoint beside its components; there should be one, and there is: {what}.",
        f"Put UltraVSR's checkpoint ({', '.join(_CHECKPOINTS)}) there, or load other "
        "systems in Python: OASIS.from_wan, LiftVSR.from_pixart.",
    )
