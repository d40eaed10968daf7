"""Recipes: everything that decides what a training run does, as typed YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from upframe.datasets.motion import MotionConfig
from upframe.degradations.progressive import ProgressiveSchedule
from upframe.degradations.ranges import BIConfig
from upframe.degradations.registry import DegradationConfig
from upframe.errors import MissingExtraError, UsageError
from upframe.systems.names import canonical_name
from upframe.systems.registry import training_tasks
from upframe.training.places import settle


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


def _known_task(name: str) -> str:
    tasks = training_tasks()
    if canonical_name(name) not in tasks:
        raise ValueError(f"there is no system {name}; known: {', '.join(tasks)}")
    return canonical_name(name)


TaskName = Annotated[
    str,
    AfterValidator(_known_task),
    Field(json_schema_extra=lambda schema: schema.update(enum=[*training_tasks()])),
]
"""A system or a stage; also in the spelling of earlier versions."""


class SystemConfig(_Strict):
    """The network."""

    name: TaskName
    """Which system, or which stage of a diffusion system (docs/training.md)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor, for example ``dim: 32``."""
    flow: Path | None = None
    """Weight file of the flow network (SpyNet), for systems that have one; without it
    and without ``init`` the flow starts at random."""


Folders = Path | tuple[Path, ...]
"""One folder, or several that are learnt from as if they were one."""


class DataConfig(_Strict):
    """What it learns from."""

    train: Folders
    """Folder of high-resolution images, or a list of folders. ``$DATA/`` begins paths
    inside the folder of ``--data`` or ``UPFRAME_DATA``; others are relative to the
    working directory."""
    videos: Folders | None = None
    """Folder of high-resolution video files, or a data set of clips, beside the clips
    from images; or a list of these."""
    video_share: float = Field(0.3, ge=0, le=1)
    """Part of the clips that comes from the videos, where there are some."""
    teacher: Path | None = None
    """Folder of degraded clips with a teacher's frames, made by ``python -m
    upframe.training.teacher`` from ``train`` and ``videos``. The teacher's frames are
    then the targets, and only ``patch``, ``warmup`` and ``batch`` matter."""
    warmup: int = Field(0, ge=0)
    """With ``teacher``: most frames that a recurrent network sees before the first
    frame that it learns from; few are likelier. They cost no gradient."""
    cache: Path = Path("runs/cache")
    """Where decoded images and videos are kept."""
    patch: int = Field(32, ge=8)
    """Side of a low-resolution patch, in pixels."""
    frames: int = Field(1, ge=1)
    """Frames per clip. With 1, patches are cut from still images; with more, or with
    ``videos``, they are clips: images in motion, and pieces of the videos."""
    motion: MotionConfig = Field(default_factory=MotionConfig)
    """How images are moved to become clips."""
    batch: int = Field(16, ge=1)
    """Patches or clips per step."""
    workers: int = Field(0, ge=0)
    """Processes that prepare batches ahead; 0 prepares them between the steps. The
    batches are the same for any number."""
    degradation: DegradationConfig = Field(default_factory=BIConfig)
    """How the low-resolution side is made: ``{name: bi}``, ``bd``, ``real`` or ``web``,
    the last two anew for every patch; docs/degradations.md has their settings."""
    progressive: ProgressiveSchedule | None = None
    """When the degradation ``real`` of clips begins to change from frame to frame:
    ``{consistent_until: 1000, full_from: 5000}``, in steps."""
    val: Path | None = None
    """Folder of clips, each a folder of images, never trained on."""
    val_low: Path | None = None
    """The same clips degraded and made small, under the same names, for example by
    ``scripts/degrade_clips.py``; without it they are made small by bicubic."""
    val_frames: int = Field(3, ge=1)
    """Frames per clip that are scored during training: spread over the clip for systems
    of single frames, the first ones in a row for others."""

    @model_validator(mode="after")
    def _progress_is_real(self) -> DataConfig:
        clips = self.frames > 1 or self.videos is not None
        if self.progressive and not (clips and self.degradation.name == "real"):
            raise ValueError("progressive is for clips with the degradation real")
        return self


class PixelLoss(_Strict):
    """Difference of the values."""

    name: Literal["charbonnier", "l1"]
    """``charbonnier``: sqrt(d² + 1e-6); ``l1``: absolute value; mean over all."""
    weight: float = Field(1.0, gt=0)
    """Factor in the sum of losses."""


class LPIPSLoss(_Strict):
    """Distance that predicts people's judgement (AlexNet, v0.1)."""

    name: Literal["lpips"]
    """As the metric of ``upframe evaluate``."""
    weight: float = Field(1.0, gt=0)
    """Factor in the sum of losses."""
    weights: Path | None = None
    """File of the weights, docs/metrics.md; left out, it is found as for the metric."""
    shift: int = Field(0, ge=0, le=16)
    """Rows and columns, up to this many and drawn anew each step, that are cut off
    first. AlexNet begins with steps of 4 pixels; a network whose last layer makes
    squares of as many learns to please it by hatching them, unless they move."""


class DISTSLoss(_Strict):
    """Distance of structure and texture in the features of VGG16."""

    name: Literal["dists"]
    """As the metric of ``upframe evaluate``."""
    weight: float = Field(1.0, gt=0)
    """Factor in the sum of losses."""
    weights: Path | None = None
    """File that ``scripts/make_dists_weights.py`` makes; left out, it is found as for
    the metric."""
    pictures: int | None = Field(None, ge=1)
    """How many images of a step it looks at, drawn at random; all if left out. On a
    CPU, VGG16 takes longer than small networks."""


VGGLayer = Literal["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]
_VGG_LAYERS: dict[VGGLayer, float] = {
    "conv1_2": 0.1,
    "conv2_2": 0.1,
    "conv3_3": 1.0,
    "conv4_3": 1.0,
    "conv5_3": 1.0,
}


class PerceptualLoss(_Strict):
    """Absolute difference of features of VGG16 before their rectification."""

    name: Literal["perceptual"]
    """As in ESRGAN, which takes VGG19."""
    weight: float = Field(1.0, gt=0)
    """Factor in the sum of losses."""
    weights: Path
    """File with ``features.*`` of VGG16, named as in torchvision: torchvision's own, or
    the one that ``scripts/make_dists_weights.py`` makes."""
    layers: dict[VGGLayer, float] = Field(_VGG_LAYERS, min_length=1)
    """Weight of each layer; the default is Real-ESRGAN's."""


class GridLoss(_Strict):
    """Checkerboard artifacts: error that repeats with the period of the scale."""

    name: Literal["grid"]
    """Absolute value of the error's local mean for each of the period's places."""
    weight: float = Field(1.0, gt=0)
    """Factor in the sum of losses."""
    period: int = Field(4, ge=2)
    """In pixels: the scale of networks that end in one pixel shuffle."""
    window: int = Field(8, ge=2)
    """Periods, down and across, over which the error is averaged."""


class GANLoss(_Strict):
    """A discriminator that distinguishes results from ground truth, frame by frame."""

    name: Literal["gan"]
    """Adversarial."""
    weight: float = Field(0.1, gt=0)
    """Factor in the sum of losses."""
    discriminator: Literal["unet", "patch"] = "unet"
    """``unet``: Real-ESRGAN's, scores every pixel; ``patch``: scores every 8th, sees
    at 70 pixels around it. Both with spectral normalisation."""
    channels: int = Field(32, ge=1)
    """Of its first layer; 64 in the papers."""
    kind: Literal["vanilla", "hinge"] = "vanilla"
    """Binary cross entropy, or hinge."""
    lr: float = Field(1e-4, gt=0)
    """Learning rate of the discriminator, constant; Adam, betas 0.9 and 0.99."""
    start: int = Field(0, ge=0)
    """First step with this loss."""


LossName = Literal["charbonnier", "l1", "own"]
AnyLoss = PixelLoss | LPIPSLoss | DISTSLoss | PerceptualLoss | GridLoss | GANLoss
LossConfig = Annotated[AnyLoss, Field(discriminator="name")]


class OptimiserConfig(_Strict):
    """How it learns."""

    loss: LossName | tuple[LossConfig, ...] = "charbonnier"
    """One of these names, or a list of losses with weights, which are added. ``own``:
    none but what the stage of a diffusion system brings itself."""
    name: Literal["adam", "adamw"] = "adam"
    """``adamw`` takes the weight decay out of the gradient."""
    betas: tuple[
        Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]
    ] = (0.9, 0.99)
    """Decay of the averages of gradient and squared gradient."""
    weight_decay: float = Field(0.0, ge=0)
    """Shrinks the weights by this times the learning rate each step; ``adamw`` only."""
    steps: int = Field(ge=1)
    """Steps of the whole schedule."""
    lr: float = Field(1e-3, gt=0)
    """Peak of the learning rate."""
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
    accumulate: int = Field(1, ge=1)
    """Parts that a batch is cut into, one after the other, to save memory; the step is
    the same but for rounding."""
    checkpointing: bool = False
    """Compute blocks twice to save memory, where the network can (``mia_vsr``)."""
    amp: Literal["off", "bf16", "fp16"] = "off"
    """Mixed precision of the networks, on a GPU only; losses stay in float32. ``fp16``
    scales the loss and skips the steps where that was too much."""

    @model_validator(mode="after")
    def _makes_sense(self) -> OptimiserConfig:
        if self.weight_decay and self.name != "adamw":
            raise ValueError("weight_decay is for name: adamw")
        names = [loss.name for loss in self.losses]
        if self.loss != "own" and (not names or len(set(names)) < len(names)):
            raise ValueError("a list of losses names each one once, and at least one")
        if names == ["gan"]:
            raise ValueError("gan needs another loss beside it")
        return self

    @property
    def losses(self) -> tuple[AnyLoss, ...]:
        """The losses as a list."""
        if self.loss == "own":
            return ()
        if isinstance(self.loss, str):
            return (PixelLoss(name=self.loss, weight=1.0),)
        return self.loss


class Recipe(_Strict):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the model and of the run's folder: small letters, digits, hyphens."""
    seed: int = 0
    """Decides initial weights and all patches."""
    system: SystemConfig
    """The network."""
    init: Path | None = None
    """Weights to start from: the name of a run, of a file in ``checkpoints`` beside the
    recipe, or of a bundled model, in this order; or the path of a file of this system.
    What the file lacks keeps its initial values, so that a larger network can start
    from a smaller one; what it has too much is refused."""
    data: DataConfig
    """What it learns from."""
    optimiser: OptimiserConfig
    """How it learns."""
    runs: Path = Path("runs")
    """Where the run's folder is made."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the log."""
    val_every: int = Field(1000, ge=1)
    """Steps between validations."""
    checkpoint_minutes: float = Field(3.0, gt=0)
    """Wall-clock minutes between checkpoints."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")
    """``auto`` takes a GPU where there is one; else ``cpu``, ``cuda`` or ``cuda:1``."""
    samples: int = Field(4, ge=0)
    """Images kept at each validation, one per clip: bicubic, result and original side
    by side, in ``samples/`` of the run's folder."""
    tensorboard: bool = False
    """Also write what the log has for TensorBoard, into the run's folder."""

    @model_validator(mode="after")
    def _batch_divides(self) -> Recipe:
        if self.data.batch % self.optimiser.accumulate:
            raise ValueError("optimiser.accumulate divides data.batch")
        task = training_tasks()[self.system.name]
        if self.optimiser.loss == "own" and not task.own_losses:
            raise ValueError("loss: own is for the stages of diffusion systems")
        return self

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


def load_recipe(
    path: Path, overrides: tuple[str, ...] = (), data: Path | None = None
) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file.
        overrides: ``key.sub=value`` assignments that replace settings of the file.
        data: folder of the data sets, see :func:`upframe.training.places.settle`.

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
    settle(tree, path, data)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors()
        )
        raise UsageError(f"The recipe {path} does not fit: {wrong}.") from error
