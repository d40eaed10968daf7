"""The training loop: steps, averages, checkpoints, exact resume.

All chance comes from ``(seed, step)``, never from a running generator, so a run that
was stopped and continued sees the same patches in the same steps as one that was not;
on the same machine and thread count the weights are equal bit for bit.
"""

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

import numpy as np
import torch
from torch import Tensor, nn

from upframe.datasets.pairs import PairCache
from upframe.errors import Interrupted, RuntimeFailure, UsageError
from upframe.systems.ditn import DITN
from upframe.training.recipe import OptimiserConfig, Recipe
from upframe.training.validation import ValidationSet

_MOST_BAD_STEPS = 100
"""Consecutive steps without a finite loss after which training gives up."""


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


def learning_rate(step: int, config: OptimiserConfig) -> float:
    """Linear warm-up, then half a cosine, at a step counted from 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (
        1 + math.cos(math.pi * min(1.0, done))
    )


def _loss(result: Tensor, target: Tensor, kind: str) -> Tensor:
    difference = result - target
    if kind == "l1":
        return difference.abs().mean()
    return (difference.square() + 1e-6).sqrt().mean()


class Trainer:
    """One run: network, average, optimiser and step, saved and restored together."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        try:
            network: nn.Module = DITN(**recipe.system.args)
        except TypeError as error:
            raise UsageError(
                f"system.args of the recipe do not fit: {error}."
            ) from error
        # Depthwise convolutions, most of the work, run a third faster this way.
        # torch's stubs know no memory format in Module.to.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.train()
        self.average = [p.detach().clone() for p in self.network.parameters()]
        config = recipe.optimiser
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True
        )
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0

    def averaged(self) -> dict[str, Tensor]:
        """State dict of the averaged weights."""
        state = self.network.state_dict()
        names = [name for name, _ in self.network.named_parameters()]
        state.update(zip(names, (p.clone() for p in self.average), strict=True))
        return {k: v.contiguous() for k, v in state.items()}

    def train_step(self, pairs: PairCache) -> float:
        """One update; returns the loss, NaN where the step was skipped."""
        recipe, config = self.recipe, self.recipe.optimiser
        rng = np.random.default_rng([recipe.seed, self.step])
        low, high = pairs.sample(rng, recipe.data.batch, recipe.data.patch)
        # (B, H, W, 3) in memory, seen as (B, 3, H, W), is channels-last already.
        x, y = (torch.from_numpy(a).permute(0, 3, 1, 2) / 255.0 for a in (low, high))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config)
        self.optimiser.zero_grad(set_to_none=True)
        loss = _loss(self.network(x), y, config.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.step += 1
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            self.skipped += 1
            self.bad_in_a_row += 1
            if self.bad_in_a_row >= _MOST_BAD_STEPS:
                raise RuntimeFailure(
                    f"The loss was not finite in {_MOST_BAD_STEPS} steps in a row.",
                    "Lower optimiser.lr in the recipe and resume.",
                )
            return math.nan
        self.bad_in_a_row = 0
        self.optimiser.step()
        # A short memory at first, so that the average forgets the random start.
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            parameters = [p.detach() for p in self.network.parameters()]
            torch._foreach_lerp_(self.average, parameters, 1 - decay)
        return loss.item()

    def save(self, path: Path) -> None:
        """Write everything a resume needs; the file appears only when complete."""
        content = {
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "skipped": self.skipped,
            "params": self.network.state_dict(),
            "params_ema": self.averaged(),
            "optimiser": self.optimiser.state_dict(),
        }
        draft = path.with_suffix(".part")
        torch.save(content, draft)
        draft.replace(path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of the same system, seed and data.

        Raises:
            UsageError: if the checkpoint cannot be read or is of another recipe. The
                number of steps may differ: the schedule is then that of the recipe now.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            old = Recipe.model_validate_json(content["recipe"])
        except Exception as error:
            raise UsageError(
                f"{path} is no checkpoint of a training run: {error}.",
                "Name another with --resume, or start anew without it.",
            ) from error
        for key in ("system", "seed"):
            if getattr(old, key) != getattr(self.recipe, key):
                raise UsageError(
                    f"The checkpoint {path} was made with another {key}.",
                    "Use the recipe it was made with, or start anew.",
                )
        self.network.load_state_dict(content["params"])
        average = content["params_ema"]
        self.average = [
            average[name].clone(memory_format=torch.preserve_format)
            for name, _ in self.network.named_parameters()
        ]
        self.optimiser.load_state_dict(content["optimiser"])
        self.step, self.skipped = content["step"], content["skipped"]


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
    scale = int(recipe.system.args.get("scale", 4))
    pairs = PairCache.build(data.train, data.cache, scale, data.patch, data.degradation)
    validation = None
    if data.val is not None:
        validation = ValidationSet(data.val, scale, data.val_frames)

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
                            validation.score(trainer.averaged(), recipe), 4
                        ),
                        "psnr_y_bicubic": round(validation.baseline, 4),
                    }
                )

        saved = time.monotonic()
        losses: list[float] = []
        since, since_step = time.monotonic(), trainer.step
        while trainer.step < steps:
            losses.append(trainer.train_step(pairs))
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
