"""PatchScaler's sampling: the shortcut, the ODE, and which patch gets how many steps.

The shortcut. The coarse latent is the wanted one up to an error, ``x_0 = y_0 + Δ``. At
a timestep τ where ``√ᾱ_τ Δ`` is small against the noise, the noised coarse latent

    ``q(x_τ | y_0) = N(√ᾱ_τ y_0, (1 - ᾱ_τ) I)``

is as good a start as the noised true one, and denoising begins at τ, not at pure noise.
What is lost is the divergence of the two, `shortcut_gap`.

From τ on, the probability-flow ODE is solved by DPM-Solver++(2M) (Lu et al., 2022) for
a network that predicts x_0; its last step gives the prediction itself.

Which patch. Three groups, *simple*, *medium* and *hard*, by two thresholds on the mean
confidence of a patch. Seen on the logit scale, a patch has two upgrades, each with a
value that is negative where the threshold asks for it::

    to medium: logit(C) - logit(g1)        to hard: logit(C) - logit(g2)

A budget moves both thresholds by the same amount: upgrades are taken in the order of
their values while the steps last. In a video, upgrades of the frame before count as
lower by ``hysteresis`` and the others as higher, so a confidence that trembles changes
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from upframe.errors import UsageError

TIMESTEPS = 1000
_LEAST = 1e-6  # confidences are kept this far from 0 and 1, whose logits are infinite


def noise_schedule() -> Tensor:
    """ᾱ of Stable Diffusion's schedule, (1001,), float64: falls from 1 at timestep 0.

    Timestep t is t - 1 in diffusers, which has no name for clean latents.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64)
    falling = torch.cumprod(1 - betas**2, dim=0)
    return torch.cat((torch.ones(1, dtype=torch.float64), falling))


@dataclass(frozen=True)
class Group:
    """How the patches of a group are sampled."""

    start: int
    """Timestep τ where denoising begins, 1 to 1000."""
    steps: int
    """Calls of the network, at least 1, at most ``start``."""

    def times(self) -> tuple[int, ...]:
        """Timesteps from ``start`` down to 0, evenly; one more than steps."""
        return tuple(
            round(self.start * (self.steps - k) / self.steps)
            for k in range(self.steps + 1)
        )


@dataclass(frozen=True)
class Grouping:
    """The three groups and what leads to them.

    Raises:
        UsageError: the groups do not get harder, or the numbers are out of range.
    """

    groups: tuple[Group, Group, Group] = (Group(200, 2), Group(500, 6), Group(800, 15))
    """Simple, medium, hard; starts and steps rise."""
    thresholds: tuple[float, float] = (0.7, 0.4)
    """(g1, g2): above g1 is simple, at most g2 is hard."""
    hysteresis: float = 0.5
    """Logits that a patch must pass a threshold by to change its group in a video."""

    def __post_init__(self) -> None:
        simple, medium, hard = self.groups
        starts = (0, simple.start, medium.start, hard.start, TIMESTEPS + 1)
        steps = (0, simple.steps, medium.steps, hard.steps)
        if not (_rises(starts) and _rises(steps)):
            raise UsageError(
                f"Groups {self.groups} do not get harder within 1 to {TIMESTEPS}.",
                "Give starts and steps that rise from simple to hard.",
            )
        if any(group.steps > group.start for group in self.groups):
            raise UsageError(
                "A group has more steps than timesteps.", "Give it fewer steps."
            )
        g1, g2 = self.thresholds
        if not 0 < g2 < g1 < 1 or self.hysteresis < 0:
            raise UsageError(
                f"Thresholds {self.thresholds} with a hysteresis of {self.hysteresis} "
                "are out of range.",
                "Give 0 < g2 < g1 < 1 and a hysteresis of at least 0.",
            )

    def steps(self, groups: Tensor) -> int:
        """Calls of the network, counted per patch, for groups (M,) of 0, 1, 2."""
        counts = torch.bincount(groups, minlength=3).tolist()
        return sum(n * g.steps for n, g in zip(counts, self.groups, strict=True))

    def assign(
        self,
        confidence: Tensor,
        *,
        before: Tensor | None = None,
        keep_ratio: float | None = None,
    ) -> Tensor:
        """The group of each patch.

        Args:
            confidence: (M,) means of the patches in [0, 1].
            before: (M,) groups in the frame before; None at the start of a scene.
            keep_ratio: steps to spend, as a share of all patches being hard: more than
                that is never spent, and less than what one more upgrade costs is left
                over. 1 makes all hard. Below simple steps over hard steps, all are
                simple. None takes the thresholds as they are.

        Returns:
            (M,) int64, 0 simple, 1 medium, 2 hard. Without ``before``, a higher ratio
            puts no patch into an easier group.

        Raises:
            UsageError: the ratio is not in [0, 1].
        """
        value = confidence.double().clamp(_LEAST, 1 - _LEAST).logit()
        bounds = torch.tensor(self.thresholds, dtype=value.dtype, device=value.device)
        upgrades = value[:, None] - bounds.logit()
        if before is not None:
            had = before[:, None] > torch.arange(2, device=before.device)
            sign = torch.where(had, -1.0, 1.0).to(upgrades)
            upgrades = upgrades + self.hysteresis * sign
        if keep_ratio is None:
            return (upgrades <= 0).sum(1)
        if not 0 <= keep_ratio <= 1:
            raise UsageError(
                f"A keep ratio of {keep_ratio} is no share.", "Give 0 to 1."
            )
        return self._within_budget(upgrades, keep_ratio)

    def _within_budget(self, upgrades: Tensor, keep_ratio: float) -> Tensor:
        simple, medium, hard = (group.steps for group in self.groups)
        costs = torch.tensor([medium - simple, hard - medium], device=upgrades.device)
        # the small addition is for ratios such as 0.3, which fall short of 3/10 of it
        budget = math.floor(keep_ratio * len(upgrades) * hard + 1e-6)
        order = upgrades.flatten().argsort(stable=True)
        spent = costs.repeat(len(upgrades))[order].cumsum(0)
        taken = order[spent <= budget - len(upgrades) * simple]
        return torch.bincount(taken // 2, minlength=len(upgrades))


def shortcut(y_0: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """A sample of q(x_τ | y_0).

    Args:
        y_0: (B, C, h, w).
        noise: standard normal, the same shape.
        alpha: ᾱ_τ, scalar or (B, 1, 1, 1).
    """
    return alpha.sqrt() * y_0 + (1 - alpha).sqrt() * noise


def shortcut_gap(error: Tensor, alpha: Tensor) -> Tensor:
    """What beginning at y_0 loses: KL of q(x_τ | x_0) and q(x_τ | y_0), in nats.

    Args:
        error: x_0 - y_0, any shape.
        alpha: ᾱ_τ below 1, broadcast over it.

    Returns:
        Per value, the shape of ``error``.
    """
    return alpha * error.square() / (2 * (1 - alpha))


def solve(
    predict: Callable[[Tensor, int], Tensor],
    x: Tensor,
    times: Sequence[int],
    alphas: Tensor,
) -> Tensor:
    """Follow the probability-flow ODE down to clean latents.

    Args:
        predict: x_0 from x_t and t.
        x: at the first of ``times``; (B, C, h, w).
        times: falling timesteps, the last 0.
        alphas: ᾱ by timestep, as `noise_schedule` has it.

    Returns:
        x_0, the same shape.
    """
    last: tuple[Tensor, float] | None = None
    for s, t in pairwise(times):
        clean = predict(x, s)
        if t == 0:
            return clean
        alpha_s, alpha_t = float(alphas[s]), float(alphas[t])
        width = _half_log_snr(alpha_t) - _half_log_snr(alpha_s)
        direction = clean
        if last is not None:
            previous, step = last
            direction = clean + (clean - previous) * (width / (2 * step))
        keep = math.sqrt((1 - alpha_t) / (1 - alpha_s))
        x = keep * x - math.sqrt(alpha_t) * math.expm1(-width) * direction
        last = (clean, width)
    raise ValueError(f"times {tuple(times)} do not end at 0")


def _half_log_snr(alpha: float) -> float:
    return 0.5 * math.log(alpha / (1 - alpha))


def _rises(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))
