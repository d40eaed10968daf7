"""One training run's state: network, average, optimiser, step; saved and restored.

All random numbers come from ``(seed, step)``, never from a running generator, so a run
that was stopped and continued sees the same patches in the same steps as one that was
not; on the same machine and thread count the weights are equal bit for bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from upframe.errors import RuntimeFailure, UsageError
from upframe.systems.registry import training_tasks
from upframe.systems.spec import TrainingTask
from upframe.systems.training_step import StepResult, training_step
from upframe.training.adversary import Adversary
from upframe.training.batches import Batch
from upframe.training.losses import Losses
from upframe.training.networks import (
    FLOW,
    build_network,
    scale_of,
    start_from,
)
from upframe.training.precision import Precision, pick_device
from upframe.training.ranks import Ranks
from upframe.training.recipe import GANLoss, OptimiserConfig, Recipe
from upframe.training.unrolling import unrolled

_MOST_BAD_STEPS = 100
"""Consecutive steps without a finite loss after which training gives up."""


def learning_rate(step: int, config: OptimiserConfig) -> float:
    """Linear warm-up, then half a cosine, at a step counted from 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (
        1 + math.cos(math.pi * min(1.0, done))
    )


def _adversarial(recipe: Recipe) -> dict[str, Any] | None:
    """The part of the adversarial loss that decides its state."""
    for loss in recipe.optimiser.losses:
        if isinstance(loss, GANLoss):
            return loss.model_dump(include={"discriminator", "channels"})
    return None


def _set_checkpointing(network: nn.Module, task: TrainingTask) -> None:
    if not task.checkpointing:
        raise UsageError(
            f"The system {task.name} cannot compute its blocks twice.",
            "Leave optimiser.checkpointing off; accumulate saves memory, too.",
        )
    network.checkpointing = True  # type: ignore[assignment]


class Trainer:
    """One run: networks, average, optimisers and step, saved and restored together."""

    def __init__(
        self, recipe: Recipe, ranks: Ranks | None = None, *, anew: bool = True
    ) -> None:
        """Make everything as it is before the first step.

        Args:
            recipe: what to do.
            ranks: this process among several; alone when None.
            anew: read the weights that the recipe starts from; a checkpoint that is
                restored afterwards brings its own.

        Raises:
            UsageError: if the recipe's system, start weights or device do not fit.
            WeightsError: if weights cannot be read.
        """
        self.recipe = recipe
        self.ranks = ranks or Ranks()
        self.device = pick_device(recipe.device, self.ranks.local_rank)
        self.task = training_tasks()[recipe.system.name]
        config = recipe.optimiser
        self.precision = Precision(config.amp, self.device)
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe.system).train()
        self.initial: int | None = None
        """Entries that the start weights left as they were; None without a start."""
        if anew and recipe.system.flow is not None:
            start_from(self.network, recipe.system.flow, FLOW)
        if anew and recipe.init is not None:
            self.initial = start_from(self.network, recipe.init)
        if config.checkpointing:
            _set_checkpointing(self.network, self.task)
        self.network.to(self.device)
        self.average = [p.detach().clone() for p in self.network.parameters()]
        named = [n for n in self.network.named_parameters() if n[1].requires_grad]
        self._flow = [p for name, p in named if name.startswith(FLOW)]
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if not n.startswith(FLOW)], "scale": 1.0}
        ]
        if self._flow:
            groups.append({"params": self._flow, "scale": config.flow_lr_scale})
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        self.optimiser = kind(
            groups,
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.losses = Losses(config.losses, self.device)
        self.adversary: Adversary | None = None
        for loss in config.losses:
            if isinstance(loss, GANLoss):
                side = recipe.data.patch * scale_of(recipe.system)
                self.adversary = Adversary(loss, side, self.device)
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0

    def averaged(self) -> dict[str, Tensor]:
        """State dict of the averaged weights."""
        state = self.network.state_dict()
        names = [name for name, _ in self.network.named_parameters()]
        state.update(zip(names, (p.clone() for p in self.average), strict=True))
        return {k: v.contiguous() for k, v in state.items()}

    def averaged_network(self) -> nn.Module:
        """A copy with the averaged weights, for scoring."""
        network = copy.deepcopy(self.network).eval()
        network.load_state_dict(self.averaged())
        return network

    def _images(self, pixels: Tensor) -> Tensor:
        """(B, [T,] h, w, 3) uint8 to what the system takes, floats in [0, 1]."""
        # (B, h, w, 3) in memory, seen as (B, 3, h, w), is channels-last already.
        x = pixels.movedim(-1, -3) / 255.0
        return x[:, None] if self.task.clips and x.ndim == 4 else x

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One update.

        Args:
            batch: this process' share.

        Returns:
            ``loss``, the sum, NaN where the step was skipped; where it has several
            parts, each of them times its weight; ``discriminator``, where there is one.
            All are means over the processes.
        """
        config, ranks = self.recipe.optimiser, self.ranks
        self._prepare()
        adversary = self.adversary
        if adversary is not None and self.step < adversary.config.start:
            adversary = None
        seen: dict[str, Tensor] = {}
        low, high = (side.to(self.device, non_blocking=True) for side in batch[:2])
        pieces = config.accumulate
        for x, y in zip(low.chunk(pieces), high.chunk(pieces), strict=True):
            parts = self._backward(
                self._images(x), self._images(y), adversary, batch.supervised
            )
            for name, value in parts.items():
                seen[name] = seen.get(name, 0) + value.detach() / pieces
        trained: list[tuple[nn.Module, Optimizer]] = [(self.network, self.optimiser)]
        if adversary is not None:
            trained.append((adversary.network, adversary.optimiser))
        scaler = self.precision.scaler
        norms = []
        for network, optimiser in trained:
            ranks.average_gradients(network)
            scaler.unscale_(optimiser)
            most = config.clip if network is self.network else math.inf
            norms.append(nn.utils.clip_grad_norm_(network.parameters(), most))
        values = torch.stack(list(seen.values()))
        ranks.average([values])
        self.step += 1
        # one wait for the device
        *numbers, finite = [
            *values.tolist(),
            bool(torch.stack([values.sum(), *norms]).isfinite().all()),
        ]
        log = dict(zip(seen, numbers, strict=True))
        discriminator = {k: log.pop(k) for k in ("discriminator",) if k in log}
        loss = math.fsum(log.values()) if finite else math.nan
        log = {"loss": loss, **(log if len(log) > 1 else {}), **discriminator}
        if finite:
            self.bad_in_a_row = 0
            for _, optimiser in trained:
                scaler.step(optimiser)
            self._update_average()
        else:
            self._skip()
        scaler.update()
        return log

    def _prepare(self) -> None:
        """Chance, learning rates and gradients of a step."""
        config = self.recipe.optimiser
        key = [self.recipe.seed, self.step, self.ranks.rank]
        seed = np.random.SeedSequence(key).generate_state(1)
        torch.manual_seed(int(seed[0]))
        for parameter in self._flow:
            parameter.requires_grad_(self.step >= config.flow_freeze)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config) * group["scale"]
        self.optimiser.zero_grad(set_to_none=True)
        if self.adversary is not None:
            self.adversary.optimiser.zero_grad(set_to_none=True)

    def _backward(
        self,
        low: Tensor,
        high: Tensor,
        adversary: Adversary | None,
        supervised: Sequence[int] | None,
    ) -> dict[str, Tensor]:
        """Add gradients of a part of the batch; returns the parts of the loss."""
        config, scaler = self.recipe.optimiser, self.precision.scaler
        with self.precision.autocast():
            if supervised is None:
                result = training_step(self.network, low, high)
            else:
                result = StepResult(unrolled(self.network, low, supervised), high)
        parts = dict(result.losses)
        if result.frames is not None:
            frames = result.frames.float()
            parts |= self.losses(frames, result.target)
        else:
            adversary = None
        if config.keep_weight and result.keep_ratios is not None:
            parts["keep"] = config.keep_weight * result.keep_ratios.float().mean()
        if adversary is not None:
            with self.precision.autocast():
                parts["gan"] = adversary.generator_loss(frames)
        loss = torch.stack(list(parts.values())).sum() / config.accumulate
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if adversary is not None:
            with self.precision.autocast():
                loss = adversary.discriminator_loss(frames.detach(), result.target)
            scaler.scale(loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
            parts["discriminator"] = loss
        return parts

    def _update_average(self) -> None:
        # A short memory at first, so that the average forgets the random start.
        decay = min(self.recipe.optimiser.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            parameters = [p.detach() for p in self.network.parameters()]
            torch._foreach_lerp_(self.average, parameters, 1 - decay)

    def _skip(self) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= _MOST_BAD_STEPS:
            raise RuntimeFailure(
                f"The loss was not finite in {_MOST_BAD_STEPS} steps in a row.",
                "Lower optimiser.lr in the recipe and resume.",
            )

    def save(self, path: Path) -> None:
        """Write everything a resume needs; the file appears only when complete."""
        content = {
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "skipped": self.skipped,
            "params": self.network.state_dict(),
            "params_ema": self.averaged(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "adversary": self.adversary and self.adversary.state_dict(),
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
        now = self.recipe
        for key, before, after in (
            ("system", old.system.name, now.system.name),
            ("system", old.system.args, now.system.args),
            ("seed", old.seed, now.seed),
            ("optimiser.loss: gan", _adversarial(old), _adversarial(now)),
        ):
            if before != after:
                raise UsageError(
                    f"The checkpoint {path} was made with another {key}.",
                    "Use the recipe it was made with, or start anew.",
                )
        self.network.load_state_dict(content["params"])
        average = content["params_ema"]
        self.average = [
            average[name].to(self.device, copy=True)
            for name, _ in self.network.named_parameters()
        ]
        state = content["optimiser"]
        for group, mine in zip(
            state["param_groups"], self.optimiser.param_groups, strict=True
        ):
            group |= {k: v for k, v in mine.items() if k != "params"}
        self.optimiser.load_state_dict(state)
        if content.get("scaler"):
            self.precision.scaler.load_state_dict(content["scaler"])
        if self.adversary is not None:
            self.adversary.load_state_dict(content["adversary"])
        self.step, self.skipped = content["step"], content["skipped"]
