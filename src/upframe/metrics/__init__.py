"""Scores of frames and clips as the field computes them.

All are NumPy only but LPIPS and DISTS, which need torch and are imported from
``upframe.metrics.lpips`` and ``upframe.metrics.dists``.
"""

from upframe.metrics.artifacts import checkerboard, false_texture
from upframe.metrics.fidelity import luma, psnr, ssim
from upframe.metrics.flow import farneback
from upframe.metrics.niqe import NIQE
from upframe.metrics.temporal import tof, warping_error

__all__ = [
    "NIQE",
    "checkerboard",
    "false_texture",
    "farneback",
    "luma",
    "psnr",
    "ssim",
    "tof",
    "warping_error",
]
