"""Clips to measure on, the motion in them, and scores of restored frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from benchmarks.pareto.quality import SCALE, WEB, read_clips
from numpy.typing import NDArray
from torch import Tensor, nn

from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError
from upframe.metrics import farneback, warping_error
from upframe.metrics.dists import DISTS
from upframe.metrics.flow import Plane
from upframe.metrics.lpips import LPIPS
from upframe.metrics.temporal import flow_difference

Frames = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""


@dataclass(frozen=True)
class CroppedClip:
    """The part of a clip that is measured."""

    name: str
    low: Tensor
    """(1, T, 3, h, w) in [0, 1]."""
    high: Frames
    """Ground truth, four times as large."""

    @property
    def source(self) -> str:
        """Name without the CRF: what verdicts take as one subset."""
        return self.name.partition("-crf")[0]

    @cached_property
    def motion(self) -> list[tuple[Plane, Plane]]:
        """Flow of the ground truth from each frame to the next, and back."""
        return [(farneback(a, b), farneback(b, a)) for a, b in pairwise(self.high)]

    def first(self, frames: int) -> CroppedClip:
        """Its beginning."""
        return CroppedClip(self.name, self.low[:, :frames], self.high[:frames])


def read_cropped(data: Path, frames: int, size: tuple[int, int]) -> list[CroppedClip]:
    """The middle of the first frames of ``data/gt/<clip>``, as the protocol web has
    them: each clip once for each CRF.

    Args:
        data: test set.
        frames: of each clip.
        size: (width, height) of what is cut out, in pixels of low resolution.

    Raises:
        InputError: there are no such clips, or they are shorter or smaller.
    """
    width, height = size
    clips = []
    for clip in read_clips(data, frames, WEB):
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
        clips.append(
            CroppedClip(
                clip.name,
                tensor[None].contiguous(),
                high[:, top : top + height_4, left : left + width_4],
            )
        )
    return clips


def as_frames(output: Tensor) -> Frames:
    """(1, T, 3, H, W) around [0, 1], rounded to 8 bits."""
    return to_uint8(output[0].permute(0, 2, 3, 1).float().clamp(0, 1).numpy())


@torch.inference_mode()
def restored(network: nn.Module, clip: CroppedClip) -> Frames:
    """A clip as a network restores it, as a whole."""
    return as_frames(network(clip.low))


def warping(results: Frames, clip: CroppedClip) -> list[float]:
    """E*warp of each pair of neighbours, with the flow of the ground truth."""
    return [
        warping_error(before, after, *flows)
        for (before, after), flows in zip(pairwise(results), clip.motion, strict=True)
    ]


def motion_error(results: Frames, clip: CroppedClip) -> list[float]:
    """tOF of each pair of neighbours, in pixels."""
    return [
        flow_difference(farneback(before, after), forward)
        for (before, after), (forward, _) in zip(
            pairwise(results), clip.motion, strict=True
        )
    ]


@dataclass(frozen=True)
class Perceptual:
    """LPIPS and DISTS, each a mean over crops that differ by some pixels.

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

    def lpips(self, results: Frames, clip: CroppedClip) -> float:
        """Mean over frames."""
        return _mean(self._lpips, results, clip.high)

    def dists(self, results: Frames, clip: CroppedClip) -> float:
        """Mean over frames."""
        return _mean(self._dists, results, clip.high)


def _mean(metric: LPIPS | DISTS, results: Frames, truth: Frames) -> float:
    pairs = zip(results, truth, strict=True)
    return fmean(metric(a, b, phases=WEB.phases) for a, b in pairs)


def by_source(
    clips: Sequence[CroppedClip], score: Callable[[int], float]
) -> dict[str, float]:
    """Scores by the clip's name without the CRF, each a mean over the CRFs.

    Args:
        clips: all of them.
        score: of the clip with a number.
    """
    found: dict[str, list[float]] = {}
    for number, clip in enumerate(clips):
        found.setdefault(clip.source, []).append(score(number))
    return {source: fmean(values) for source, values in found.items()}


def over_pairs(values: Sequence[float]) -> float:
    """Mean over pairs of frames, those not defined left out."""
    return float(np.nanmean(values))
