"""What upframe knows of OASIS."""

from __future__ import annotations

from upframe.systems.diffusion.spec import has_autoencoder
from upframe.systems.spec import FolderLayout, Lazy, Shapes, SystemSpec, TrainingTask

_PACKAGE = "upframe.systems.oasis"


def _matches(shapes: Shapes) -> bool:
    return "transformer.patch_embedding.weight" in shapes and has_autoencoder(shapes)


SPEC = SystemSpec(
    name="oasis",
    title="OASIS",
    paper="Guo et al., Towards Redundancy Reduction in Diffusion Models for Efficient "
    "Video Super-Resolution (OASIS), arXiv 2509.23980",
    build=Lazy(f"{_PACKAGE}.configuration:build_oasis"),
    matches=_matches,
    requirements=Lazy(f"{_PACKAGE}.requirements:file_requirements"),
    scale=4,
    runtime=Lazy("upframe.systems.oasis.runtime:OASISRuntime.open"),
    extra="diffusion",
    tasks=(
        TrainingTask(
            "oasis",
            Lazy(f"{_PACKAGE}.training:OASISTask"),
            clips=True,
            own_losses=True,
        ),
    ),
    folder=FolderLayout(
        marker="oasis.json",
        load=Lazy(f"{_PACKAGE}.model:OASIS.from_pretrained"),
        skeleton=Lazy(f"{_PACKAGE}.model:OASIS.on_meta"),
        requirements=Lazy(f"{_PACKAGE}.requirements:folder_requirements"),
        cuda_precision="bf16",
    ),
)
