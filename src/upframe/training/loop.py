"""The training loop: batches, log, validation, checkpoints, orderly stops."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from upframe.errors import Interrupted, UsageError
from upframe.training.batches import Samples, batches
from upframe.training.networks import scale_of
from upframe.training.recipe import Recipe
from upframe.training.trainer import Trainer, learning_rate
from upframe.training.validation import ValidationSet


@contextmanager
def _stop_request() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into an answer to "stop after this step?".

    An exception amid a step would leave weights, average and step number of different
    moments, and a resume from them would not be exact. A second Ctrl-C does interrupt.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

    Args:
        recipe: what to do.
        resume: ``auto`` continues from the run's last checkpoint where there is one;
            a path continues from that file; None starts anew.
        minutes: stop, with a checkpoint, after this much wall-clock time.
        threads: threads of torch; None leaves them as they are.
        report: is called with every line of the log.

    Returns:
        Where the checkpoint is and how far the run came.

    Raises:
        UsageError: if the run's folder holds a run and ``resume`` is None, or a
            checkpoint does not fit.
        InputError: if the training or validation data cannot be read.
        RuntimeFailure: if the loss stays not finite.
        Interrupted: after Ctrl-C or SIGTERM; the step was finished and saved.
    """
    begin = time.monotonic()
    if threads is not None:
        torch.set_num_threads(threads)
    folder = recipe.folder
    last = folder / "last.ckpt"
    if resume is None and last.exists():
        raise UsageError(
            f"{folder} holds a run already.",
            "Continue it with --resume auto, or choose another name in the recipe.",
        )
    trainer = Trainer(recipe)
    if resume not in (None, "auto"):
        trainer.restore(Path(str(resume)))
    elif last.exists():
        trainer.restore(last)
    data = recipe.data
    scale = scale_of(recipe.system)
    samples = Samples(data, scale, recipe.seed)
    validation = None
    if data.val is not None:
        validation = ValidationSet(
            data.val, scale, data.val_frames, clips=trainer.system.clips
        )

    folder.mkdir(parents=True, exist_ok=True)
    steps = recipe.optimiser.steps
    with (
        (folder / "log.jsonl").open("a", encoding="utf-8") as log,
        _stop_request() as must_stop,
    ):

        def write(line: dict[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()
            if report is not None:
                report(line)

        def validate() -> None:
            if validation is not None:
                write(
                    {
                        "event": "val",
                        "step": trainer.step,
                        "psnr_y": round(
                            validation.score(trainer.averaged_network()), 4
                        ),
                        "psnr_y_bicubic": round(validation.baseline, 4),
                    }
                )

        if trainer.step == 0 and trainer.initial is not None:
            write(
                {
                    "event": "init",
                    "from": str(recipe.init),
                    "not_in_file": trainer.initial,
                }
            )
        saved = time.monotonic()
        losses: list[float] = []
        since, since_step = time.monotonic(), trainer.step
        for batch in batches(samples, trainer.step, steps, workers=data.workers):
            losses.append(trainer.train_step(batch))
            now = time.monotonic()
            if trainer.step % recipe.log_every == 0:
                finite = [x for x in losses if math.isfinite(x)]
                write(
                    {
                        "event": "train",
                        "step": trainer.step,
                        "loss": round(sum(finite) / max(1, len(finite)), 6),
                        "lr": round(learning_rate(trainer.step, recipe.optimiser), 8),
                        "steps_per_s": round(
                            (trainer.step - since_step) / (now - since), 3
                        ),
                        "skipped": trainer.skipped,
                    }
                )
                losses, since, since_step = [], now, trainer.step
            if trainer.step % recipe.val_every == 0 and trainer.step < steps:
                validate()
            if now - saved > recipe.checkpoint_minutes * 60:
                trainer.save(last)
                saved = now
            if must_stop() or (minutes is not None and now - begin > minutes * 60):
                break
        trainer.save(last)
        if must_stop():
            raise Interrupted(
                f"Training of {recipe.name} was stopped at step {trainer.step}.",
                "Continue it with --resume auto.",
            )
        if trainer.step >= steps:
            validate()
    return TrainingReport(
        checkpoint=last,
        step=trainer.step,
        finished=trainer.step >= steps,
        skipped=trainer.skipped,
        seconds=time.monotonic() - begin,
    )
