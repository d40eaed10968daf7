"""What each protocol of the field does, as data.

Common to all: images are RGB, rounded to 8 bits before the network and after it;
where the low-resolution frames are not given they are made by the "BI" degradation,
MATLAB's antialiased bicubic ``imresize`` in double precision, after the ground truth
has been cropped to a multiple of the scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from upframe.errors import UsageError


@dataclass(frozen=True)
class Protocol:
    """How images are found, compared and averaged."""

    name: str
    source: str
    """Where the rules are from, and which published numbers they reproduce."""
    layout: Literal["images", "clips"] = "clips"
    """The data folder holds images, each scored by itself, or ``gt`` and ``lq``."""
    channel: Literal["y", "rgb"] = "y"
    """``y``: BT.601 studio range, not rounded; ``rgb``: all three together."""
    crop: Literal["none", "scale"] = "none"
    """Border that is left out on each side: nothing, or as many pixels as the scale."""
    frames: Literal["all", "middle"] = "all"
    """Which frames of a clip are scored; all of them go through the model."""
    has_truth: bool = True
    """Whether there is a ground truth to compare with."""
    phases: int = 1
    """Over how many crops LPIPS and DISTS are averaged, where the user names none
    (:func:`upframe.metrics.phases.phase_crops`)."""
    crfs: tuple[int, ...] = ()
    """CRFs of H.264 that the low-resolution frames go through where they are made from
    the ground truth; each makes a clip of its own (`upframe.evaluation.web`)."""
    metrics: tuple[str, ...] = ("psnr", "ssim")
    """What is scored where the user names nothing."""
    clips: tuple[str, ...] = ()
    """The only clips that count, of those in the folder; empty for all."""

    def border(self, scale: int) -> int:
        """Pixels that are left out on each side."""
        return scale if self.crop == "scale" else 0

    def describe(self, scale: int, *, made: bool) -> str:
        """One line with everything that decides a score.

        Args:
            scale: of the model.
            made: whether the low-resolution frames were made from the ground truth.
        """
        if not self.has_truth:
            return f"{self.name}: real input, x{scale}, no ground truth to compare with"
        channel = "Y of BT.601 (16..235)" if self.channel == "y" else "RGB"
        mean = {
            "images": "mean over images",
            "clips": "mean over frames of a clip, then over clips",
        }[self.layout]
        if self.frames == "middle":
            mean = "the middle frame of each clip, mean over clips"
        low = "made from gt by MATLAB's bicubic imresize" if made else "taken from lq"
        if made and self.crfs:
            crfs = " and ".join(map(str, self.crfs))
            low += f", then H.264 4:2:0 (x264, defaults) at CRF {crfs}"
        return (
            f"{self.name}: x{scale}, low resolution {low}, rounded to 8 bits, "
            f"{channel}, crop {self.border(scale)}, {mean}"
        )


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(
                "sisr",
                "Set5, Set14, BSD100, Urban100, Manga109 as in EDSR and all after it; "
                "DITN_Real x4 has 32.10 dB on Set5, MATLAB's bicubic 28.42",
                layout="images",
                crop="scale",
            ),
            Protocol(
                "vid4",
                "BasicVSR, BI: Y, whole frames; BasicVSR (Vimeo) 27.24 dB, "
                "BasicVSR++ 27.79, MIA-VSR 28.20; for UDM10 and SPMCS, too",
            ),
            Protocol(
                "reds4",
                "EDVR: four clips of the training part of REDS, RGB, whole frames; "
                "BasicVSR 31.42 dB, BasicVSR++ 32.39, MIA-VSR 32.78",
                channel="rgb",
                clips=("000", "011", "015", "020"),
            ),
            Protocol(
                "vimeo90k",
                "TOFlow's septuplets: im4 of im1 to im7, Y, whole frames; "
                "BasicVSR (BI) 37.18 dB, BasicVSR++ 37.79",
                frames="middle",
            ),
            Protocol(
                "real",
                "VideoLQ and the like: frames without ground truth",
                has_truth=False,
                metrics=(),
            ),
            Protocol(
                "web",
                "no published table: an ordinary web video, of which no training "
                "degradation is a part; Y, and perceptual distances as means over "
                "crops",
                crop="scale",
                phases=2,
                crfs=(23, 30),
                metrics=("psnr", "lpips", "dists", "checkerboard", "false_texture"),
            ),
        )
    }
)
"""Protocols by name."""


def find_protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise UsageError(
            f"There is no protocol {name!r} in this version.",
            f"Use one of: {', '.join(PROTOCOLS)}.",
        )
    return PROTOCOLS[name]
