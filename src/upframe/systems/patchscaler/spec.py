"""What upframe knows of PatchScaler."""

from __future__ import annotations

from upframe.systems.diffusion.spec import has_autoencoder
from upframe.systems.spec import Lazy, Shapes, SystemSpec, TrainingTask

_PACKAGE = "upframe.systems.patchscaler"


def _matches(shapes: Shapes) -> bool:
    return "restoration.conv_in.weight" in shapes and has_autoencoder(shapes)


SPEC = SystemSpec(
    name="patchscaler",
    title="PatchScaler",
    paper="Liu et al., PatchScaler: An Efficient Patch-Independent Diffusion Model for "
    "Image Super-Resolution, ICCV 2025",
    build=Lazy(f"{_PACKAGE}.configuration:build_patchscaler"),
    matches=_matches,
    requirements=Lazy(f"{_PACKAGE}.requirements:file_requirements"),
    scale=4,
    runtime=Lazy("upframe.systems.patchscaler.runtime:PatchScalerRuntime.open"),
    extra="diffusion",
    tasks=(
        TrainingTask(
            "texture-classifier",
            Lazy(f"{_PACKAGE}.training:TextureTask"),
            own_losses=True,
        ),
        TrainingTask(
            "patchscaler-restoration",
            Lazy(f"{_PACKAGE}.training:RestorationTask"),
            own_losses=True,
        ),
        TrainingTask(
            "patchscaler",
            Lazy(f"{_PACKAGE}.training:PatchScalerTask"),
            own_losses=True,
        ),
    ),
)
