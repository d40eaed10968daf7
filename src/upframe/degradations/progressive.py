"""Progressive training: from degradations that hold over a clip to ones that change.

OASIS (arXiv 2509.23980) trains first on temporally consistent degradations, then on
inconsistent ones. The paper does not say when and how it changes over; here the largest
change from frame to frame grows linearly between two steps, which includes the sudden
change (both steps the same). What is drawn at a step depends on the step alone, so a
resumed run goes on as it would have.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, model_validator

from upframe.degradations.ranges import RealConfig, StageRanges, Strict

Ranges = TypeVar("Ranges", bound=Strict)


class ProgressiveSchedule(Strict):
    """When degradations begin to change over a clip.

    The ranges are the same at all steps; only the walk through them differs. The whole
    pipeline stays temporally constant up to ``consistent_until``.
    """

    consistent_until: int = Field(ge=0)
    """Last step at which every parameter holds for the whole clip."""
    full_from: int = Field(ge=0)
    """First step at which parameters walk by the full ``*_step`` of the ranges."""

    @model_validator(mode="after")
    def _in_order(self) -> ProgressiveSchedule:
        if self.full_from < self.consistent_until:
            raise ValueError("full_from comes after consistent_until")
        return self

    def share(self, step: int) -> float:
        """How inconsistent a step is: 0 constant, 1 the full walk; never falls."""
        if step <= self.consistent_until:
            return 0.0
        if step >= self.full_from:
            return 1.0
        return (step - self.consistent_until) / (self.full_from - self.consistent_until)

    def at(self, step: int, target: RealConfig) -> RealConfig:
        """What clips of a training step are degraded with.

        Args:
            step: of the training, from 0.
            target: ranges and the steps of the full walk; its ``temporal`` is not used.

        Returns:
            ``target`` with every ``*_step`` times :meth:`share`; ``constant`` where
            that is 0, else ``walk``.
        """
        share = self.share(step)
        if share == 0:
            return target.model_copy(update={"temporal": "constant"})
        changes = {
            "temporal": "walk",
            "first": _slower_stage(target.first, share),
            "second": _slower_stage(target.second, share),
            "final_sinc": _slower(target.final_sinc, share),
        }
        return target.model_copy(update=changes)


def _slower_stage(stage: StageRanges, share: float) -> StageRanges:
    return StageRanges(
        blur=_slower(stage.blur, share),
        resize=_slower(stage.resize, share),
        noise=_slower(stage.noise, share),
        jpeg=_slower(stage.jpeg, share),
    )


def _slower(ranges: Ranges, share: float) -> Ranges:
    """The same ranges, walked by a share of their steps."""
    steps = {
        name: getattr(ranges, name) * share
        for name in type(ranges).model_fields
        if name.endswith("_step")
    }
    return ranges.model_copy(update=steps)
