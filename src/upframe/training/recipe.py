"""Recipes: everything that decides what a training run does, as typed YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upframe.datasets.motion import MotionConfig
from upframe.degradations.ranges import BIConfig
from upframe.degradations.registry import DegradationConfig
from upframe.errors import MissingExtraError, UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SystemConfig(_Strict):
    """The network."""

    name: Literal["ditn", "mia_vsr", "mia_vsr_lite"]
    """Which system. ``ditn`` takes single frames, the others clips."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, for example ``dim: 32``."""
    flow: Path | None = None
    """Weight file of the flow network (SpyNet), for systems that have one; without it
    and without ``init`` the flow starts at random."""


class DataConfig(_Strict):
    """What it learns from."""

    train: Path
    """Folder of high-resolution pictures; relative to the working directory."""
    videos: Path | None = None
    """Folder of high-resolution video files, for clips beside those from pictures."""
    video_share: float = Field(0.3, ge=0, le=1)
    """Part of the clips that comes from the videos, where there are some."""
    cache: Path = Path("runs/cache")
    """Where decoded pictures and videos are kept."""
    patch: int = Field(32, ge=8)
    """Side of a low-resolution patch, in pixels."""
    frames: int = Field(1, ge=1)
    """Frames per clip. With 1, patches are cut from still pictures; with more, or with
    ``videos``, they are clips: pictures in motion, and pieces of the videos."""
    motion: MotionConfig = Field(default_factory=MotionConfig)
    """How pictures are moved to become clips."""
    batch: int = Field(16, ge=1)
    """Patches or clips per step."""
    workers: int = Field(0, ge=0)
    """Processes that prepare batches ahead; 0 prepares them between the steps. The
    batches are the same for any number."""
    degradation: DegradationConfig = Field(default_factory=BIConfig)
    """How the low-resolution side is made: ``{name: bi}``, ``bd`` or ``real``, the
    latter anew for every patch; docs/degradations.md has its settings. Validation
    stays bicubic."""
    val: Path | None = None
    """Folder of clips, each a folder of pictures, never trained on."""
    val_frames: int = Field(3, ge=1)
    """Frames per clip that are scored during training: spread over the clip for systems
    of single frames, the first ones in a row for others."""


class OptimiserConfig(_Strict):
    """How it learns."""

    loss: Literal["charbonnier", "l1"] = "charbonnier"
    """Charbonnier: sqrt(d² + 1e-6), per value, mean."""
    steps: int = Field(ge=1)
    """Steps of the whole schedule."""
    lr: float = Field(1e-3, gt=0)
    """Peak of Adam's learning rate (betas 0.9, 0.99)."""
    lr_end: float = Field(1e-6, ge=0)
    """Learning rate at the end of the cosine."""
    warmup: int = Field(200, ge=0)
    """Steps of linear rise to the peak."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the averaged weights, which are the ones that are shipped."""
    keep_weight: float = Field(0.0, ge=0)
    """What the mean share of computed tokens adds to the loss, times this, for systems
    with masks (MIA-VSR: 1e-4 in the authors' code, 5e-4 in the paper)."""
    flow_freeze: int = Field(0, ge=0)
    """Steps at the beginning in which the flow network stays as it is."""
    flow_lr_scale: float = Field(1.0, ge=0)
    """Learning rate of the flow network over that of the rest."""


class Recipe(_Strict):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the model and of the run's folder."""
    seed: int = 0
    """Decides initial weights and all patches."""
    system: SystemConfig
    init: Path | None = None
    """Weights to start from: a checkpoint of another run, or any file of this system.
    What the file lacks keeps its initial values, so that a larger network can start
    from a smaller one; what it has too much is refused."""
    data: DataConfig
    optimiser: OptimiserConfig
    runs: Path = Path("runs")
    """Where the run's folder is made."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the log."""
    val_every: int = Field(1000, ge=1)
    """Steps between validations."""
    checkpoint_minutes: float = Field(3.0, gt=0)
    """Wall-clock minutes between checkpoints."""

    @property
    def folder(self) -> Path:
        """Where checkpoints and the log go."""
        return self.runs / self.name


def _set(tree: dict[str, Any], assignment: str) -> None:
    key, sign, value = assignment.partition("=")
    if not sign:
        raise UsageError(
            f"--set {assignment!r} has no '='.", "Write it as --set optimiser.lr=5e-4."
        )
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {key}: {parent} holds no further settings.")
    tree[last] = _yaml().safe_load(value)


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("Reading recipes", "train") from error
    return yaml


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file.
        overrides: ``key.sub=value`` assignments that replace settings of the file.

    Raises:
        UsageError: if the file is missing, is no YAML, or does not fit the schema; the
            message names every setting that is wrong.
        MissingExtraError: if PyYAML is not installed.
    """
    yaml = _yaml()
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"The recipe {path} is no valid YAML: {error}.") from error
    if not isinstance(tree, dict):
        raise UsageError(f"The recipe {path} holds no settings.")
    for assignment in overrides:
        _set(tree, assignment)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors()
        )
        raise UsageError(f"The recipe {path} does not fit: {wrong}.") from error
