"""The training loop: batches, log, validation, checkpoints, orderly stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from upframe.errors import Interrupted, UsageError
from upframe.training.batches import Samples, batches
from upframe.training.log import RunLog
from upframe.training.losses import lpips_file
from upframe.training.networks import scale_of
from upframe.training.precision import pick_device
from upframe.training.ranks import Ranks
from upframe.training.recipe import Recipe
from upframe.training.stopping import Budget, stop_request
from upframe.training.trainer import Trainer, learning_rate
from upframe.training.validation import ValidationSet


@dataclass(frozen=True)
class TrainingReport:
    """What a call of :func:`train` did."""

    checkpoint: Path
    """The newest checkpoint."""
    step: int
    """Steps done since the beginning of the run."""
    finished: bool
    """Whether the whole schedule is done."""
    skipped: int
    """Steps skipped for a loss or gradient that was not finite."""
    seconds: float
    """Wall-clock time of this call."""


def train(
    recipe: Recipe,
    *,
    resume: str | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> TrainingReport:
    """Carry out a recipe, or the next part of it.

    Under ``torchrun`` every process calls this; the first one validates, logs and
    saves.

    Args:
        recipe: what to do.
        resume: ``auto`` continues from the run's last checkpoint where there is one;
            a path continues from that file; None starts anew.
        minutes: stop, with a checkpoint, before this much wall-clock time is over:
            validation and saving count. At least one step is made, and a cache that is
            not there is made first, however long that takes.
        threads: threads of torch; None leaves them as they are.
        report: is called with every line of the log.

    Returns:
        Where the checkpoint is and how far the run came.

    Raises:
        UsageError: if the run's folder holds a run and ``resume`` is None, a checkpoint
            does not fit, or the recipe asks for what this machine has not.
        InputError: if the training or validation data cannot be read.
        WeightsError: if weights that the recipe names cannot be read.
        RuntimeFailure: if the loss stays not finite.
        Interrupted: after Ctrl-C or SIGTERM; the step was finished and saved.
    """
    budget = Budget(minutes)
    if threads is not None:
        torch.set_num_threads(threads)
    last = recipe.folder / "last.ckpt"
    if resume is None and last.exists():
        raise UsageError(
            f"{recipe.folder} holds a run already.",
            "Continue it with --resume auto, or choose another name in the recipe.",
        )
    source = last if last.exists() else None
    if resume not in (None, "auto"):
        source = Path(str(resume))
    ranks = Ranks.of_environment()
    with ranks.joined(pick_device(recipe.device, ranks.local_rank)):
        trainer = Trainer(recipe, ranks, anew=source is None)
        if source is not None:
            trainer.restore(source)
        _Run(trainer, last, budget).go(report)
    return TrainingReport(
        checkpoint=last,
        step=trainer.step,
        finished=trainer.step >= recipe.optimiser.steps,
        skipped=trainer.skipped,
        seconds=budget.elapsed,
    )


class _Run:
    """A trainer with what surrounds it."""

    def __init__(self, trainer: Trainer, last: Path, budget: Budget) -> None:
        recipe, ranks = trainer.recipe, trainer.ranks
        self.trainer, self.last, self.budget = trainer, last, budget
        self.recipe, self.ranks = recipe, ranks
        scale = scale_of(recipe.system)
        share = ranks.share(recipe.data.batch)
        with ranks.first_alone():
            self.samples = Samples(recipe.data, scale, recipe.seed, share)
        if len(share) % recipe.optimiser.accumulate:
            raise UsageError(
                f"The share of a process, {len(share)} samples, cannot be cut into "
                f"{recipe.optimiser.accumulate} parts.",
                "Change optimiser.accumulate or data.batch.",
            )
        self.validation: ValidationSet | None = None
        losses = recipe.optimiser.losses
        if recipe.data.val is not None and ranks.first:
            self.validation = ValidationSet(
                recipe.data.val,
                scale,
                recipe.data.val_frames,
                clips=trainer.task.clips,
                low=recipe.data.val_low,
                lpips=next((lpips_file(x) for x in losses if x.name == "lpips"), None),
            )
        self.log: RunLog | None = None
        self.saved = time.monotonic()

    def go(self, report: Callable[[dict[str, Any]], None] | None) -> None:
        trainer, recipe, ranks = self.trainer, self.recipe, self.ranks
        steps = recipe.optimiser.steps
        with ExitStack() as stack:
            if ranks.first:
                self.log = stack.enter_context(
                    RunLog(
                        recipe.folder,
                        trainer.step,
                        tensorboard=recipe.tensorboard,
                        report=report,
                    )
                )
                if trainer.step == 0 and trainer.initial is not None:
                    self.log.write(
                        "init", 0, source=str(recipe.init), not_in_file=trainer.initial
                    )
            must_stop = stack.enter_context(stop_request(patient=ranks.world > 1))
            stopped = False
            self.budget.step_begins()
            for batch in batches(
                self.samples,
                trainer.step,
                steps,
                workers=recipe.data.workers,
                pin=trainer.device.type == "cuda",
            ):
                losses = trainer.train_step(batch)
                self.budget.step_done()
                if self.log is not None:
                    self._after_step(self.log, losses)
                stopped = must_stop()
                if ranks.any(stopped or self.budget.over, trainer.device):
                    break
                self.budget.step_begins()
            if ranks.first:
                self._save()
            ranks.wait()
            if stopped:
                raise Interrupted(
                    f"Training of {recipe.name} was stopped at step {trainer.step}.",
                    "Continue it with --resume auto.",
                )
            if self.log is not None and trainer.step >= steps:
                self._validate(self.log)

    def _after_step(self, log: RunLog, losses: dict[str, float]) -> None:
        trainer, recipe = self.trainer, self.recipe
        log.step(losses)
        if trainer.step % recipe.log_every == 0:
            rate = learning_rate(trainer.step, recipe.optimiser)
            log.summary(trainer.step, rate, trainer.skipped)
        if trainer.step % recipe.val_every == 0 and (
            trainer.step < recipe.optimiser.steps
        ):
            self._validate(log)
        due = self.saved + recipe.checkpoint_minutes * 60
        if time.monotonic() > due and not self.budget.soon_over:
            self._save()

    def _save(self) -> None:
        begin = time.monotonic()
        self.trainer.save(self.last)
        self.saved = time.monotonic()
        self.budget.saved(self.saved - begin)

    def _validate(self, log: RunLog) -> None:
        if self.validation is None:
            return
        step = self.trainer.step
        score = self.validation.score(
            self.trainer.averaged_network(),
            samples=self.recipe.samples,
            deadline=self.budget.work_ends,
        )
        if score is None:
            log.write("val_skipped", step, why="the time is over")
            return
        values = score.values | {
            f"{key}_bicubic": self.validation.baseline[key]
            for key in score.values
            if key in self.validation.baseline
        }
        log.write("val", step, **{key: round(x, 5) for key, x in values.items()})
        log.images(step, score.samples)
