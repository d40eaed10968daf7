"""The metrics by name: which there are, what they need, and when they apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from upframe.errors import UsageError
from upframe.evaluation.protocols import Protocol
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
                "LPIPS, AlexNet, v0.1, RGB in [-1, 1], {crops}; smaller is better",
            ),
            Metric(
                "dists",
                "DISTS, VGG16, RGB, not resized, {crops}; smaller is better",
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
