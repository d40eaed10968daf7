"""The metrics by name: which there are, what they need, and their scores of a clip.

Frames come one after another; what two metrics share, the flow of the ground truth or
the features of LPIPS, is computed once and forgotten two frames later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from upframe.datasets.pictures import Picture
from upframe.errors import UsageError
from upframe.evaluation.protocols import Protocol
from upframe.metrics import NIQE, farneback, psnr, ssim, warping_error
from upframe.metrics.files import fingerprint
from upframe.metrics.flow import DESCRIPTION as FLOW
from upframe.metrics.flow import Plane
from upframe.metrics.temporal import flow_difference
from upframe.metrics.vmaf import VMAF, find_ffmpeg

if TYPE_CHECKING:
    from upframe.metrics.dists import DISTS
    from upframe.metrics.lpips import LPIPS


@dataclass(frozen=True)
class Metric:
    """What a metric is, and when it applies."""

    name: str
    definition: str
    """One sentence with everything that decides a score besides the protocol."""
    needs_truth: bool = True
    """Whether it compares with a ground truth."""
    temporal: bool = False
    """Whether it looks at two consecutive frames."""
    whole_clip: bool = False
    """Whether all frames of a clip are scored together, at its end."""
    default: bool = False
    """Whether it is taken where none is named: the metrics of published tables."""

    def applies(self, rules: Protocol) -> bool:
        """Whether a protocol can have it."""
        if self.needs_truth and not rules.has_truth:
            return False
        clips = rules.layout == "clips" and rules.frames == "all"
        return clips or not (self.temporal or self.whole_clip)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("psnr", "peak signal-to-noise ratio in dB, peak 255", default=True),
            Metric(
                "ssim",
                "structural similarity, Gaussian window 11x11 with sigma 1.5",
                default=True,
            ),
            Metric(
                "lpips",
                "LPIPS, AlexNet, v0.1, RGB in [-1, 1], border as for psnr; smaller is "
                "better",
            ),
            Metric(
                "dists",
                "DISTS, VGG16, RGB, not resized, border as for psnr; smaller is better",
            ),
            Metric(
                "niqe",
                "NIQE of the result as in BasicSR, Y rounded, border as wide as the "
                "scale, blocks of 96x96; smaller is better",
                needs_truth=False,
            ),
            Metric(
                "tof",
                "tOF of TecoGAN: mean length in pixels of the difference between the "
                f"flows of result and gt, whole frames; {FLOW}; smaller is better",
                temporal=True,
            ),
            Metric(
                "tlp",
                "tLP of TecoGAN, x100: difference between the LPIPS (AlexNet, v0.1) of "
                "consecutive frames of result and gt, whole frames; smaller is better",
                temporal=True,
            ),
            Metric(
                "ewarp",
                "E*warp of Lai et al., x1000: mean squared difference in [0, 1]² "
                "between a frame and the next warped to it, without occlusions and "
                "edges of motion; {source}; " + FLOW + "; smaller is better",
                needs_truth=False,
                temporal=True,
            ),
            Metric(
                "vmaf",
                "VMAF, the default model of ffmpeg's libvmaf (vmaf_v0.6.1: 1080p seen "
                "from three heights), 8-bit 4:2:0 of BT.709, whole frames",
                whole_clip=True,
            ),
        )
    }
)
"""Metrics by name."""


def choose_metrics(rules: Protocol, metrics: Sequence[str] | None) -> tuple[str, ...]:
    """Names without repetition, checked against the protocol.

    Args:
        rules: the protocol.
        metrics: names; None for psnr and ssim, or nothing without ground truth.

    Raises:
        UsageError: there is no such metric, or it does not go with the protocol.
    """
    fitting = [name for name, metric in METRICS.items() if metric.applies(rules)]
    if metrics is None:
        return tuple(name for name in fitting if METRICS[name].default)
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UsageError(
            f"There is no metric {', '.join(map(repr, unknown)) or 'named'} in this "
            "version.",
            f"There are: {', '.join(METRICS)}.",
        )
    wrong = [METRICS[name] for name in metrics if name not in fitting]
    if wrong:
        reason = (
            f"has no ground truth for {wrong[0].name}"
            if wrong[0].needs_truth and not rules.has_truth
            else f"scores single pictures, and {wrong[0].name} needs clips"
        )
        raise UsageError(
            f"The protocol {rules.name} {reason}.",
            f"For this protocol there are: {', '.join(fitting)}.",
        )
    return tuple(dict.fromkeys(metrics))


class Scoring:
    """Metrics that are ready: their weights are loaded."""

    def __init__(
        self,
        names: Sequence[str],
        rules: Protocol,
        scale: int,
        weights: Path | None = None,
    ) -> None:
        """Load what the metrics need.

        Args:
            names: from :func:`choose_metrics`.
            rules: the protocol.
            scale: of the model.
            weights: folder of the metrics' weights; None to look where
                :func:`upframe.metrics.files.find_file` says.

        Raises:
            UsageError: VMAF is wanted and there is no ffmpeg for it.
            WeightsError: weights are missing or damaged.
            MissingExtraError: LPIPS or DISTS is wanted and torch is not installed.
        """
        self.names = tuple(names)
        self.channel, self.border, self.scale = (
            rules.channel,
            rules.border(scale),
            scale,
        )
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
        self.definitions: Mapping[str, str] = {
            name: METRICS[name].definition.format(source=source)
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
        """Scores of one clip or picture."""
        return ClipScoring(self)


class ClipScoring:
    """Scores of the frames of one clip."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._before: _Frame | None = None
        self.values: dict[str, list[float]] = {name: [] for name in scoring.names}
        """Metric to scores: of each frame; of each but the first if it is temporal;
        none before :meth:`finish` if it scores whole clips."""
        self._vmaf = VMAF(scoring.ffmpeg) if scoring.ffmpeg else None

    def push(self, result: Picture, truth: Picture | None) -> None:
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
        self, scoring: Scoring, result: Picture, truth: Picture | None
    ) -> None:
        self.scoring = scoring
        self.result = result
        self._truth = truth

    @property
    def truth(self) -> Picture:
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
        """Inside the protocol's border."""
        metric, crop = self.scoring.lpips, self.scoring.border
        if crop == 0:
            return metric.distance(self.features, self.truth_features)
        return metric(self.result, self.truth, crop=crop)

    def dists(self) -> float:
        """Inside the protocol's border."""
        crop = self.scoring.border
        return self.scoring.dists(self.result, self.truth, crop=crop)

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
    "niqe": lambda frame: frame.scoring.niqe(frame.result, crop=frame.scoring.scale),
}
_OF_PAIRS: Mapping[str, Callable[[_Pair], float]] = {
    "tof": _Pair.tof,
    "tlp": _Pair.tlp,
    "ewarp": _Pair.ewarp,
}
