"""Scores of pictures against a reference, as the field computes them; NumPy only."""

from upframe.metrics.fidelity import luma, psnr, ssim

__all__ = ["luma", "psnr", "ssim"]
