"""Scores of the frames of a clip, by the metrics' names.

Frames come one after another; what two metrics share, the flow of the ground truth or
the features of LPIPS, is computed once and forgotten two frames later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upframe.datasets.images import ImageArray
from upframe.errors import UsageError
from upframe.evaluation.metrics import METRICS
from upframe.evaluation.protocols import Protocol
from upframe.metrics import (
    NIQE,
    checkerboard,
    false_texture,
    farneback,
    psnr,
    ssim,
    warping_error,
)
from upframe.metrics.artifacts import SCALES
from upframe.metrics.files import fingerprint
from upframe.metrics.flow import Plane, opencv
from upframe.metrics.phases import PHASES, phase_crops
from upframe.metrics.temporal import flow_difference
from upframe.metrics.vmaf import VMAF, find_ffmpeg

if TYPE_CHECKING:
    from upframe.metrics.dists import DISTS
    from upframe.metrics.lpips import LPIPS


class Scoring:
    """Metrics that are ready: their weights are loaded."""

    def __init__(
        self,
        names: Sequence[str],
        rules: Protocol,
        scale: int,
        weights: Path | None = None,
        phases: int | None = None,
    ) -> None:
        """Load what the metrics need.

        Args:
            names: from :func:`upframe.evaluation.metrics.choose_metrics`.
            rules: the protocol.
            scale: of the model.
            weights: folder of the metrics' weights; None to look where
                :func:`upframe.metrics.files.find_file` says.
            phases: over how many crops LPIPS and DISTS are averaged, 1 to 4; None for
                the protocol's.

        Raises:
            UsageError: VMAF is wanted and there is no ffmpeg for it; checkerboards are
                wanted and have no definition for the scale; ``phases`` is invalid.
            WeightsError: weights are missing or damaged.
            MissingExtraError: LPIPS or DISTS is wanted and torch is not installed, or a
                flow and OpenCV is not.
        """
        self.names = tuple(names)
        self.channel, self.border, self.scale = (
            rules.channel,
            rules.border(scale),
            scale,
        )
        self.phases = rules.phases if phases is None else phases
        _check(names, scale, self.phases)
        if "tof" in names or "ewarp" in names:
            opencv()
        files = {}
        self._niqe: NIQE | None = None
        self._lpips: LPIPS | None = None
        self._dists: DISTS | None = None
        if "niqe" in names:
            self._niqe = NIQE(weights)
            files["niqe"] = fingerprint(self._niqe.path)
        if "lpips" in names or "tlp" in names:
            from upframe.metrics.lpips import LPIPS

            self._lpips = LPIPS(weights)
            files["lpips"] = files["tlp"] = fingerprint(self._lpips.path)
        if "dists" in names:
            from upframe.metrics.dists import DISTS

            self._dists = DISTS(weights)
            files["dists"] = fingerprint(self._dists.path)
        self.ffmpeg = find_ffmpeg() if "vmaf" in names else None
        """Path of the program that computes VMAF, if that is wanted."""
        source = "flow of gt" if rules.has_truth else "flow of the result itself"
        crops = _describe_crops(self.border, self.phases)
        self.definitions: Mapping[str, str] = {
            name: METRICS[name].definition.format(source=source, crops=crops)
            + (f"; weights {files[name]}" if name in files else "")
            for name in names
        }
        """Metric to one sentence with everything that decides its scores."""

    @property
    def niqe(self) -> NIQE:
        """Loaded if a metric needs it."""
        assert self._niqe is not None
        return self._niqe

    @property
    def lpips(self) -> LPIPS:
        """Loaded if a metric needs it."""
        assert self._lpips is not None
        return self._lpips

    @property
    def dists(self) -> DISTS:
        """Loaded if a metric needs it."""
        assert self._dists is not None
        return self._dists

    def clip(self) -> ClipScoring:
        """Scores of one clip or image."""
        return ClipScoring(self)


def _check(names: Sequence[str], scale: int, phases: int) -> None:
    """Raise UsageError for what the metrics have no definition of."""
    if not 1 <= phases <= PHASES:
        raise UsageError(
            f"phases must be 1 to {PHASES}, got {phases}.",
            "More crops cannot differ by whole pixels of LPIPS's stride.",
        )
    if "checkerboard" in names and scale not in SCALES:
        raise UsageError(
            f"checkerboard is not defined for models of scale {scale}.",
            f"Leave it out, or use a model of scale {SCALES[0]} to {SCALES[-1]}.",
        )


def _describe_crops(border: int, phases: int) -> str:
    """The crops of a perceptual distance, for the printed protocol."""
    if phases == 1:
        return "border as for psnr"
    borders = ", ".join(map(str, phase_crops(border, phases)))
    return f"mean over {phases} crops without {borders} pixels on every side"


class ClipScoring:
    """Scores of the frames of one clip."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._before: _Frame | None = None
        self.values: dict[str, list[float]] = {name: [] for name in scoring.names}
        """Metric to scores: of each frame; of each but the first if it is temporal;
        none before :meth:`finish` if it scores whole clips."""
        self._vmaf = VMAF(scoring.ffmpeg) if scoring.ffmpeg else None

    def push(self, result: ImageArray, truth: ImageArray | None) -> None:
        """Score the next frame.

        Args:
            result: (H, W, 3).
            truth: the same size; None without ground truth.

        Raises:
            ValueError: the frame cannot be scored; the message begins with the metric.
        """
        frame = _Frame(self._scoring, result, truth)
        pair = _Pair(self._before, frame) if self._before is not None else None
        for name, values in self.values.items():
            try:
                if METRICS[name].whole_clip:
                    continue
                if not METRICS[name].temporal:
                    values.append(_OF_FRAMES[name](frame))
                elif pair is not None:
                    values.append(_OF_PAIRS[name](pair))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if self._vmaf is not None:
            self._vmaf.push(result, frame.truth)
        self._before = frame

    def finish(self) -> None:
        """End of the clip.

        Raises:
            RuntimeFailure: the program that computes VMAF fails.
        """
        if self._vmaf is not None:
            self.values["vmaf"] += self._vmaf.finish()

    def close(self) -> None:
        """Drop what is kept for the end of the clip."""
        if self._vmaf is not None:
            self._vmaf.close()


def mean(values: Sequence[float]) -> float:
    """Mean of those that are defined; NaN if none is."""
    defined = [value for value in values if not isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


class _Frame:
    """A frame and what metrics compute of it alone."""

    def __init__(
        self, scoring: Scoring, result: ImageArray, truth: ImageArray | None
    ) -> None:
        self.scoring = scoring
        self.result = result
        self._truth = truth

    @property
    def truth(self) -> ImageArray:
        """For metrics that need one."""
        assert self._truth is not None
        return self._truth

    @property
    def has_truth(self) -> bool:
        """Whether there is a ground truth."""
        return self._truth is not None

    def fidelity(self, metric: Callable[..., float]) -> float:
        """PSNR or SSIM by the protocol's rules."""
        rules = self.scoring
        return metric(self.result, self.truth, channel=rules.channel, crop=rules.border)

    def lpips(self) -> float:
        """Inside the protocol's border, mean over the phases."""
        metric, rules = self.scoring.lpips, self.scoring
        if rules.border == 0 and rules.phases == 1:
            return metric.distance(self.features, self.truth_features)
        crop, phases = rules.border, rules.phases
        return metric(self.result, self.truth, crop=crop, phases=phases)

    def dists(self) -> float:
        """Inside the protocol's border, mean over the phases."""
        crop, phases = self.scoring.border, self.scoring.phases
        return self.scoring.dists(self.result, self.truth, crop=crop, phases=phases)

    @cached_property
    def features(self) -> Any:
        """Of LPIPS, of the whole result."""
        return self.scoring.lpips.features(self.result)

    @cached_property
    def truth_features(self) -> Any:
        """Of LPIPS, of the whole ground truth."""
        return self.scoring.lpips.features(self.truth)


class _Pair:
    """Two consecutive frames and the motion between them."""

    def __init__(self, before: _Frame, after: _Frame) -> None:
        self.before = before
        self.after = after

    @cached_property
    def of_result(self) -> Plane:
        return farneback(self.before.result, self.after.result)

    @cached_property
    def of_truth(self) -> Plane:
        return farneback(self.before.truth, self.after.truth)

    def tof(self) -> float:
        return flow_difference(self.of_result, self.of_truth)

    def tlp(self) -> float:
        distance = self.after.scoring.lpips.distance
        result = distance(self.before.features, self.after.features)
        truth = distance(self.before.truth_features, self.after.truth_features)
        return 100 * abs(result - truth)

    def ewarp(self) -> float:
        if self.after.has_truth:
            forward = self.of_truth
            backward = farneback(self.after.truth, self.before.truth)
        else:
            forward = self.of_result
            backward = farneback(self.after.result, self.before.result)
        return warping_error(self.before.result, self.after.result, forward, backward)


_OF_FRAMES: Mapping[str, Callable[[_Frame], float]] = {
    "psnr": lambda frame: frame.fidelity(psnr),
    "ssim": lambda frame: frame.fidelity(ssim),
    "lpips": _Frame.lpips,
    "dists": _Frame.dists,
    "checkerboard": lambda frame: checkerboard(frame.result, frame.scoring.scale),
    "false_texture": lambda frame: false_texture(frame.result, frame.truth),
    "niqe": lambda frame: frame.scoring.niqe(frame.result, crop=frame.scoring.scale),
}
_OF_PAIRS: Mapping[str, Callable[[_Pair], float]] = {
    "tof": _Pair.tof,
    "tlp": _Pair.tlp,
    "ewarp": _Pair.ewarp,
}
