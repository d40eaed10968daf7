"""The metrics by name: which there are, what they need, and when they apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from upframe.errors import UsageError, WeightsError
from upframe.evaluation.protocols import Protocol
from upframe.metrics.files import DISTS_FILE, LPIPS_FILE, find_file
from upframe.metrics.flow import DESCRIPTION as FLOW


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
    file: str | None = None
    """Weights for torch, of third parties, that it needs."""

    def at_hand(self, folder: Path | None) -> bool:
        """Whether its weights, in ``folder`` or where
        :func:`upframe.metrics.files.find_file` looks, and torch are there."""
        if self.file is None:
            return True
        try:
            find_file(self.file, self.name, folder)
        except WeightsError:
            return False
        return find_spec("torch") is not None

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
            Metric("psnr", "peak signal-to-noise ratio in dB, peak 255"),
            Metric(
                "ssim", "structural similarity, Gaussian window 11x11 with sigma 1.5"
            ),
            Metric(
                "lpips",
                "LPIPS, AlexNet, v0.1, RGB in [-1, 1], {crops}; smaller is better",
                file=LPIPS_FILE,
            ),
            Metric(
                "dists",
                "DISTS, VGG16, RGB, not resized, {crops}; smaller is better",
                file=DISTS_FILE,
            ),
            Metric(
                "checkerboard",
                "energy at the harmonics of a grid of the scale's period over the "
                "median of their spectral neighbours, mean in dB, flatter half of the "
                "64x64 blocks of Y, whole frames; bicubic is about 0, smaller is "
                "better",
                needs_truth=False,
            ),
            Metric(
                "false_texture",
                "energy above 1/8 cycle per pixel over that of gt in dB, in the "
                "quarter of the 32x32 blocks of Y that is flattest in gt, whole "
                "frames; 0 is as much as gt, above 0 texture was added",
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


def choose_metrics(
    rules: Protocol, metrics: Sequence[str] | None, folder: Path | None = None
) -> tuple[str, ...]:
    """Names without repetition, checked against the protocol.

    Args:
        rules: the protocol.
        metrics: names; None for those of the protocol whose weights are at hand
            (:func:`left_out` has the others).
        folder: of the weights, as for :meth:`Metric.at_hand`.

    Raises:
        UsageError: there is no such metric, or it does not go with the protocol.
    """
    if metrics is None:
        return tuple(name for name in rules.metrics if METRICS[name].at_hand(folder))
    fitting = [name for name, metric in METRICS.items() if metric.applies(rules)]
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
            else f"scores single images, and {wrong[0].name} needs clips"
        )
        raise UsageError(
            f"The protocol {rules.name} {reason}.",
            f"For this protocol there are: {', '.join(fitting)}.",
        )
    return tuple(dict.fromkeys(metrics))


def left_out(
    rules: Protocol, metrics: Sequence[str] | None, names: Sequence[str]
) -> tuple[str, ...]:
    """The protocol's metrics that :func:`choose_metrics` did not take because their
    weights or torch are missing."""
    if metrics is not None:
        return ()
    return tuple(name for name in rules.metrics if name not in names)
