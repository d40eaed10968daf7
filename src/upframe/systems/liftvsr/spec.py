"""What upframe knows of LiftVSR."""

from __future__ import annotations

from upframe.systems.diffusion.spec import has_autoencoder
from upframe.systems.spec import FolderLayout, Lazy, Shapes, SystemSpec, TrainingTask

_PACKAGE = "upframe.systems.liftvsr"


def _matches(shapes: Shapes) -> bool:
    return "transformer.condition.weight" in shapes and has_autoencoder(shapes)


SPEC = SystemSpec(
    name="liftvsr",
    title="LiftVSR",
    paper="Wang et al., LiftVSR: Lifting Image Diffusion to Video Super-Resolution via "
    "Hybrid Temporal Modeling with Only 4×RTX 4090s, arXiv 2506.08529",
    build=Lazy(f"{_PACKAGE}.configuration:build_liftvsr"),
    matches=_matches,
    requirements=Lazy(f"{_PACKAGE}.requirements:file_requirements"),
    scale=4,
    runtime=Lazy("upframe.systems.liftvsr.runtime:LiftVSRRuntime.open"),
    extra="diffusion",
    tasks=(
        TrainingTask(
            "pixart-prior",
            Lazy(f"{_PACKAGE}.training.tasks:PriorTask"),
            own_losses=True,
        ),
        TrainingTask(
            "liftvsr",
            Lazy(f"{_PACKAGE}.training.tasks:LiftVSRTask"),
            clips=True,
            own_losses=True,
        ),
    ),
    folder=FolderLayout(
        marker="liftvsr.json",
        load=Lazy(f"{_PACKAGE}.model:LiftVSR.from_pretrained"),
        skeleton=Lazy(f"{_PACKAGE}.model:LiftVSR.on_meta"),
        requirements=Lazy(f"{_PACKAGE}.requirements:folder_requirements"),
        cuda_precision="bf16",
    ),
)
