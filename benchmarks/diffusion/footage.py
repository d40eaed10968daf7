"""Clips to measure on, the motion in them, and scores of what networks make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from benchmarks.pareto.quality import SCALE, read_clips
from numpy.typing import NDArray
from torch import Tensor, nn

from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError
from upframe.metrics import farneback, warping_error
from upframe.metrics.dists import DISTS
from upframe.metrics.flow import Plane
from upframe.metrics.lpips import LPIPS
from upframe.metrics.temporal import flow_difference

Pictures = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""


@dataclass(frozen=True)
class Footage:
    """A clip, as large as it is measured."""

    name: str
    low: Tensor
    """(1, T, 3, h, w) in [0, 1]."""
    high: Pictures
    """Ground truth, four times as large."""

    @cached_property
    def motion(self) -> list[tuple[Plane, Plane]]:
        """Flow of the ground truth from each frame to the next, and back."""
        return [(farneback(a, b), farneback(b, a)) for a, b in pairwise(self.high)]

    def first(self, frames: int) -> Footage:
        """Its beginning."""
        return Footage(self.name, self.low[:, :frames], self.high[:frames])


def read_footage(data: Path, frames: int, size: tuple[int, int]) -> list[Footage]:
    """The middle of the first frames of ``data/gt/<clip>`` and ``data/lq/<clip>``.

    Args:
        data: test set.
        frames: of each clip.
        size: (width, height) of what is cut out, in pixels of low resolution.

    Raises:
        InputError: there are no such clips, or they are shorter or smaller.
    """
    width, height = size
    footage = []
    for clip in read_clips(data, frames):
        low, high = np.stack(clip.low), np.stack(clip.high)
        if len(low) < frames or low.shape[1] < height or low.shape[2] < width:
            raise InputError(
                f"{clip.name} has {len(low)} frames of {low.shape[2]}x{low.shape[1]}, "
                f"fewer or smaller than {frames} of {width}x{height}.",
                "Measure fewer or smaller frames.",
            )
        top, left = (low.shape[1] - height) // 2, (low.shape[2] - width) // 2
        part = low[:, top : top + height, left : left + width]
        tensor = torch.from_numpy(part.astype(np.float32) / 255).permute(0, 3, 1, 2)
        top, left, height_4, width_4 = (SCALE * n for n in (top, left, height, width))
        footage.append(
            Footage(
                clip.name,
                tensor[None].contiguous(),
                high[:, top : top + height_4, left : left + width_4],
            )
        )
    return footage


def as_pictures(output: Tensor) -> Pictures:
    """(1, T, 3, H, W) around [0, 1], rounded to 8 bits."""
    return to_uint8(output[0].permute(0, 2, 3, 1).float().clamp(0, 1).numpy())


@torch.inference_mode()
def restored(network: nn.Module, footage: Footage) -> Pictures:
    """What a network makes of a clip as a whole."""
    return as_pictures(network(footage.low))


def warping(results: Pictures, footage: Footage) -> list[float]:
    """E*warp of each pair of neighbours, with the flow of the ground truth."""
    return [
        warping_error(before, after, *flows)
        for (before, after), flows in zip(
            pairwise(results), footage.motion, strict=True
        )
    ]


def motion_error(results: Pictures, footage: Footage) -> list[float]:
    """tOF of each pair of neighbours, in pixels."""
    return [
        flow_difference(farneback(before, after), forward)
        for (before, after), (forward, _) in zip(
            pairwise(results), footage.motion, strict=True
        )
    ]


@dataclass(frozen=True)
class Eyes:
    """The networks that compare pictures.

    Raises:
        WeightsError: from a metric whose weights are not there.
    """

    weights: Path | None = None
    """Their folder; None to look where docs/metrics.md says."""

    @cached_property
    def _lpips(self) -> LPIPS:
        return LPIPS(self.weights)

    @cached_property
    def _dists(self) -> DISTS:
        return DISTS(self.weights)

    def lpips(self, results: Pictures, footage: Footage) -> float:
        """Mean over frames."""
        return _mean(self._lpips, results, footage.high)

    def dists(self, results: Pictures, footage: Footage) -> float:
        """Mean over frames."""
        return _mean(self._dists, results, footage.high)


def _mean(metric: LPIPS | DISTS, results: Pictures, truth: Pictures) -> float:
    return fmean(metric(a, b) for a, b in zip(results, truth, strict=True))


def over_clips(values: Sequence[Sequence[float]]) -> float:
    """Mean over pairs of a clip, those not defined left out, then over clips."""
    return fmean(float(np.nanmean(clip)) for clip in values)
