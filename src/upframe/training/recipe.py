"""Recipes: everything that decides what a training run does, as typed YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upframe.degradations.ranges import BIConfig
from upframe.degradations.registry import DegradationConfig
from upframe.errors import MissingExtraError, UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SystemConfig(_Strict):
    """The network."""

    name: Literal["ditn"]
    """Which published system."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, for example ``dim: 32``."""


class DataConfig(_Strict):
    """What it learns from."""

    train: Path
    """Folder of high-resolution pictures; relative to the working directory."""
    cache: Path = Path("runs/cache")
    """Where the decoded pairs are kept."""
    patch: int = Field(32, ge=8)
    """Side of a low-resolution patch, in pixels."""
    batch: int = Field(16, ge=1)
    """Patches per step."""
    degradation: DegradationConfig = Field(default_factory=BIConfig)
    """How the low-resolution side is made: ``{name: bi}``, ``bd`` or ``real``, the
    latter anew for every patch; docs/degradations.md has its settings. Validation
    stays bicubic."""
    val: Path | None = None
    """Folder of clips, each a folder of pictures, never trained on."""
    val_frames: int = Field(3, ge=1)
    """Frames per clip that are scored during training, spread over the clip."""


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


class Recipe(_Strict):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the model and of the run's folder."""
    seed: int = 0
    """Decides initial weights and all patches."""
    system: SystemConfig
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
