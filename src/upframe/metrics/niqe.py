"""NIQE: how far a image's statistics are from those of pristine photographs.

Mittal, Soundararajan and Bovik, "Making a 'Completely Blind' Image Quality Analyzer"
(IEEE Signal Processing Letters 2013). This follows BasicSR's port of the authors'
MATLAB release in its newest form: Y of BT.601 in studio range, border cropped by the
scale, rounded, blocks of 96x96 without overlap and without selection by sharpness,
features at two scales, the half scale by MATLAB's antialiased bicubic ``imresize``.
Older versions of BasicSR do not round and halve by OpenCV's bilinear; on images as
small as those of Set5 they differ by some tenths, sometimes by more.
The model of pristine images (mean and covariance of 36 features) is read from a file.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from math import gamma
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.errors import WeightsError
from upframe.metrics.fidelity import luma
from upframe.metrics.files import find_file
from upframe.nn.resize import imresize

Floats = NDArray[np.float64]

FILE = "niqe_pris_params.npz"
"""Name of the file with ``mu_pris_param``, ``cov_pris_param``, ``gaussian_window``."""

_BLOCK = 96
_SHAPES = {
    "mu_pris_param": (1, 36),
    "cov_pris_param": (36, 36),
    "gaussian_window": (7, 7),
}


class NIQE:
    """The metric with its model of pristine images.

    Smaller is better; photographs have about 2 to 6, bicubic results 6 to 10.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        """Read the model.

        Args:
            path: of the file or its folder; None to look where
                :func:`upframe.metrics.files.find_file` says.

        Raises:
            WeightsError: the file is missing or damaged.
        """
        self.path = find_file(FILE, "NIQE", path)
        try:
            with (
                self.path.open("rb") as stream,
                np.load(stream, allow_pickle=False) as content,
            ):
                values = {k: np.asarray(content[k], np.float64) for k in _SHAPES}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(self.path) from error
        if any(values[k].shape != shape for k, shape in _SHAPES.items()):
            raise _damaged(self.path)
        self._mean = values["mu_pris_param"][0]
        self._covariance = values["cov_pris_param"]
        self._window = values["gaussian_window"]

    def __call__(self, image: NDArray[np.uint8], *, crop: int = 0) -> float:
        """Score a image.

        Args:
            image: (H, W, 3) RGB uint8.
            crop: pixels left out on every side; the field takes the scale.

        Returns:
            A distance, 0 or more; NaN if fewer than two of the blocks have texture.

        Raises:
            ValueError: if fewer than two blocks of 96x96 remain.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"expected (H, W, 3) uint8, got {image.shape}")
        height, width = image.shape[:2]
        rows, columns = ((n - 2 * crop) // _BLOCK for n in (height, width))
        if rows < 1 or columns < 1 or rows * columns < 2:
            raise ValueError(
                f"NIQE needs two blocks of {_BLOCK}x{_BLOCK} pixels within a border of "
                f"{crop}, the image is {width}x{height}"
            )
        part = image[crop : crop + rows * _BLOCK, crop : crop + columns * _BLOCK]
        plane = np.round(luma(part))
        features = np.concatenate(
            [
                self._features(plane, _BLOCK),
                self._features(imresize(plane / 255, 0.5) * 255, _BLOCK // 2),
            ],
            axis=1,
        )
        whole = features[~np.isnan(features).any(axis=1)]
        if len(whole) < 2:
            return float("nan")
        away = self._mean - np.nanmean(features, axis=0)
        spread = (self._covariance + np.cov(whole, rowvar=False)) / 2
        return float(np.sqrt(away @ np.linalg.pinv(spread) @ away))

    def _features(self, plane: Floats, block: int) -> Floats:
        """Of all blocks, (N, 18), at one scale."""
        mean = _smooth(plane, self._window)
        deviation = np.sqrt(np.abs(_smooth(plane * plane, self._window) - mean * mean))
        normal = (plane - mean) / (deviation + 1)
        rows, columns = (n // block for n in plane.shape)
        return np.array(
            [
                _block_features(
                    normal[y * block : (y + 1) * block, x * block : (x + 1) * block]
                )
                for x in range(columns)
                for y in range(rows)
            ]
        )


def _damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} does not hold the model of NIQE.", "Get the file again."
    )


def _smooth(plane: Floats, window: Floats) -> Floats:
    """Correlation with a symmetric window, edges repeated."""
    radius = len(window) // 2
    padded = np.pad(plane, radius, mode="edge")
    height, width = plane.shape
    out = np.zeros_like(plane)
    for y, row in enumerate(window):
        for x, weight in enumerate(row):
            out += weight * padded[y : y + height, x : x + width]
    return out


@lru_cache(maxsize=1)
def _shapes() -> tuple[Floats, Floats, Floats]:
    """Shape parameters, their moment ratios, sqrt(gamma(1/a) / gamma(3/a))."""
    alpha = np.arange(0.2, 10.001, 0.001)
    one, two, three = ([gamma(k / a) for a in alpha.tolist()] for k in (1, 2, 3))
    ratio = np.square(two) / (np.array(one) * np.array(three))
    return alpha, ratio, np.sqrt(np.array(one) / np.array(three))


def _fit(values: Floats) -> tuple[float, float, float]:
    """Asymmetric generalized Gaussian by moments: shape, left and right scale.

    The scales are NaN where the values have one sign or none.
    """
    alphas, ratios, factors = _shapes()
    left, right = values[values < 0], values[values > 0]
    if not len(left) or not len(right):
        return float(alphas[0]), float("nan"), float("nan")
    sigma_left, sigma_right = np.sqrt(np.mean(left**2)), np.sqrt(np.mean(right**2))
    skew = sigma_left / sigma_right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    at = int(np.argmin((ratios - moment) ** 2))
    return (
        float(alphas[at]),
        float(sigma_left * factors[at]),
        float(sigma_right * factors[at]),
    )


def _block_features(block: Floats) -> list[float]:
    """18 numbers of a block: its own fit, and those of products with neighbours."""
    alpha, left, right = _fit(block)
    out = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, left, right = _fit(block * np.roll(block, shift, axis=(0, 1)))
        mean = (right - left) * (gamma(2 / alpha) / gamma(1 / alpha))
        out += [alpha, mean, left, right]
    return out
