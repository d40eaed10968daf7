"""One training run's state: network, average, optimiser, step; saved and restored.

All chance comes from ``(seed, step)``, never from a running generator, so a run that
was stopped and continued sees the same patches in the same steps as one that was not;
on the same machine and thread count the weights are equal bit for bit.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from upframe.errors import RuntimeFailure, UsageError
from upframe.training.batches import Batch
from upframe.training.networks import (
    FLOW,
    SYSTEMS,
    build_network,
    enlarge,
    start_from,
)
from upframe.training.recipe import OptimiserConfig, Recipe

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


def _loss(result: Tensor, target: Tensor, kind: str) -> Tensor:
    difference = result - target
    if kind == "l1":
        return difference.abs().mean()
    return (difference.square() + 1e-6).sqrt().mean()


class Trainer:
    """One run: network, average, optimiser and step, saved and restored together."""

    def __init__(self, recipe: Recipe) -> None:
        """Make everything as it is before the first step.

        Raises:
            UsageError: if the recipe's system or start weights do not fit.
            WeightsError: if the start weights cannot be read.
        """
        self.recipe = recipe
        self.system = SYSTEMS[recipe.system.name]
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe.system).train()
        self.initial: int | None = None
        """Entries that the start weights left as they were; None without a start."""
        if recipe.system.flow is not None:
            start_from(self.network, recipe.system.flow, FLOW)
        if recipe.init is not None:
            self.initial = start_from(self.network, recipe.init)
        self.average = [p.detach().clone() for p in self.network.parameters()]
        config = recipe.optimiser
        named = list(self.network.named_parameters())
        self._flow = [p for name, p in named if name.startswith(FLOW)]
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if not n.startswith(FLOW)], "scale": 1.0}
        ]
        if self._flow:
            groups.append({"params": self._flow, "scale": config.flow_lr_scale})
        self.optimiser = torch.optim.Adam(
            groups, lr=config.lr, betas=(0.9, 0.99), fused=True
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

    def averaged_network(self) -> nn.Module:
        """A copy with the averaged weights, for scoring."""
        network = copy.deepcopy(self.network).eval()
        network.load_state_dict(self.averaged())
        return network

    def _pictures(self, pixels: Tensor) -> Tensor:
        """(B, [T,] h, w, 3) uint8 to what the system takes, floats in [0, 1]."""
        # (B, h, w, 3) in memory, seen as (B, 3, h, w), is channels-last already.
        x = pixels.movedim(-1, -3) / 255.0
        return x[:, None] if self.system.clips and x.ndim == 4 else x

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss, NaN where the step was skipped."""
        recipe, config = self.recipe, self.recipe.optimiser
        seed = np.random.SeedSequence([recipe.seed, self.step]).generate_state(1)
        torch.manual_seed(int(seed[0]))
        for parameter in self._flow:
            parameter.requires_grad_(self.step >= config.flow_freeze)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config) * group["scale"]
        self.optimiser.zero_grad(set_to_none=True)
        result = enlarge(self.network, self._pictures(batch.low))
        loss = _loss(result.frames, self._pictures(batch.high), config.loss)
        if config.keep_weight and result.keep_ratios is not None:
            loss = loss + config.keep_weight * result.keep_ratios.mean()
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
        now = self.recipe
        for key, before, after in (
            ("system", old.system.name, now.system.name),
            ("system", old.system.args, now.system.args),
            ("seed", old.seed, now.seed),
        ):
            if before != after:
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
        state = content["optimiser"]
        for group, mine in zip(
            state["param_groups"], self.optimiser.param_groups, strict=True
        ):
            group["scale"] = mine["scale"]
        self.optimiser.load_state_dict(state)
        self.step, self.skipped = content["step"], content["skipped"]
