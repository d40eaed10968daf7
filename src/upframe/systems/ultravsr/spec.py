"""What upframe knows of UltraVSR."""

from __future__ import annotations

from upframe.systems.diffusion.spec import has_autoencoder
from upframe.systems.spec import FolderLayout, Lazy, Shapes, SystemSpec, TrainingTask

_PACKAGE = "upframe.systems.ultravsr"


def _matches(shapes: Shapes) -> bool:
    return "unet.conv_in.weight" in shapes and has_autoencoder(shapes)


SPEC = SystemSpec(
    name="ultravsr",
    title="UltraVSR",
    paper="Liu et al., UltraVSR: Achieving Ultra-Realistic Video Super-Resolution with "
    "Efficient One-Step Diffusion Space, ACM MM 2025",
    build=Lazy(f"{_PACKAGE}.configuration:build_ultravsr"),
    matches=_matches,
    requirements=Lazy(f"{_PACKAGE}.requirements:file_requirements"),
    scale=4,
    runtime=Lazy("upframe.systems.ultravsr.runtime:UltraVSRRuntime.open"),
    extra="diffusion",
    tasks=(
        TrainingTask(
            "degradation-estimator",
            Lazy(f"{_PACKAGE}.training.tasks:EstimatorTask"),
            clips=True,
            own_losses=True,
        ),
        TrainingTask(
            "ultravsr-prior",
            Lazy(f"{_PACKAGE}.training.tasks:PriorTask"),
            own_losses=True,
        ),
        TrainingTask(
            "ultravsr",
            Lazy(f"{_PACKAGE}.training.tasks:UltraVSRTask"),
            clips=True,
            own_losses=True,
        ),
    ),
    folder=FolderLayout(
        marker="unet",
        load=Lazy(f"{_PACKAGE}.folder:load"),
        skeleton=Lazy(f"{_PACKAGE}.folder:skeleton"),
        requirements=Lazy(f"{_PACKAGE}.requirements:folder_requirements"),
        cuda_precision="fp16",
    ),
)
