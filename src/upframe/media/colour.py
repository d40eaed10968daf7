"""Colour tags, and exact conversion between coded frames and RGB arrays.

FFmpeg's own defaults (BT.601, no tags) shift the colours of most HD video. Here
matrix and range are explicit in both directions, chroma is interpolated in full
precision, and the tags of the source go onto the result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from upframe.errors import UsageError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3) RGB or (H, W, 4) RGBA; uint8, or uint16 over the full 16 bits."""

UNSPECIFIED = 2
LIMITED, FULL = 1, 2
BT709, BT470BG, SMPTE170M, BT2020_NCL = 1, 5, 6, 9
PQ, HLG = 16, 18

# libswscale's own numbers: PyAV's enumerations differ from version to version.
_SWS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SWS_BT709 = 1
_BICUBIC, _FULL_CHROMA_INT, _FULL_CHROMA_INP, _ACCURATE = 0x4, 0x2000, 0x4000, 0x40000
_QUALITY = _BICUBIC | _FULL_CHROMA_INT | _FULL_CHROMA_INP | _ACCURATE


@dataclass(frozen=True)
class Colour:
    """Colour tags as the code points of ITU-T H.273 (FFmpeg's AVCOL values)."""

    matrix: int
    """YCbCr matrix: 1 BT.709, 5/6 BT.601, 9 BT.2020, 0 RGB, 2 unspecified."""
    primaries: int
    """1 BT.709, 5 BT.470BG, 6 SMPTE 170M, 9 BT.2020, 2 unspecified."""
    transfer: int
    """1 BT.709, 16 PQ, 18 HLG, 2 unspecified."""
    range: int
    """1 limited (studio), 2 full."""

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in (PQ, HLG)


def resolve(tagged: Colour, width: int, height: int, *, rgb: bool) -> Colour:
    """Fill in tags that a file lacks, as players do.

    Untagged frames of 720 lines (or 1280 columns) and more are taken as BT.709,
    smaller ones as BT.601 (625 lines: BT.470BG primaries, else SMPTE 170M).

    Args:
        tagged: the tags found; 0 in ``range`` and 2 elsewhere mean "untagged".
        width: coded width in pixels.
        height: coded height in pixels.
        rgb: the frames are coded as RGB; they are converted to BT.709,
            limited range, with sRGB's transfer unless tagged otherwise.
    """
    hd = height >= 720 or width >= 1280
    sd_matrix = BT470BG if height in (288, 576) else SMPTE170M
    matrix, primaries, transfer = tagged.matrix, tagged.primaries, tagged.transfer
    if rgb or matrix == 0:
        matrix = BT709
    elif matrix in (UNSPECIFIED, 3):
        wide = primaries == 9
        matrix = BT2020_NCL if wide else BT709 if hd else sd_matrix
    if primaries in (0, UNSPECIFIED, 3):
        primaries = matrix if matrix in (BT709, BT470BG, SMPTE170M, 7, 9) else BT709
    if transfer in (0, UNSPECIFIED, 3):
        transfer = {BT2020_NCL: 14, 7: 7}.get(matrix, BT709 if hd or rgb else SMPTE170M)
        if rgb:
            transfer = 13  # IEC 61966-2-1, sRGB
    return replace(
        tagged,
        matrix=matrix,
        primaries=primaries,
        transfer=transfer,
        range=LIMITED if rgb else tagged.range or LIMITED,
    )


def has_alpha(pix_fmt: str) -> bool:
    """Whether a pixel format carries an alpha plane."""
    return any(c.is_alpha for c in av.VideoFormat(pix_fmt).components)


def bit_depth(pix_fmt: str) -> int:
    """Bits per sample of a pixel format, 8 for palettes."""
    return max(int(c.bits) for c in av.VideoFormat(pix_fmt).components)


def is_rgb(pix_fmt: str) -> bool:
    """Whether a pixel format holds RGB (or a palette of RGB)."""
    fmt = av.VideoFormat(pix_fmt)
    return bool(fmt.is_rgb or fmt.has_palette)


def _sws_matrix(matrix: int) -> int:
    if matrix in (9, 10) and int(av.__version__.split(".")[0]) < 18:
        raise UsageError(
            "This PyAV cannot convert BT.2020 colours without shifting them.",
            "Use Python 3.11 or newer, where PyAV 18 is installed.",
        )
    return _SWS_MATRIX.get(matrix, _SWS_BT709)


class ToRGB:
    """Converts decoded frames to RGB(A) arrays of one size and depth.

    Args:
        colour: resolved tags of the stream.
        width: output width; frames of another size are scaled to it.
        height: output height.
        alpha: give (H, W, 4) instead of (H, W, 3).
        deep: give uint16 (full 16-bit scale) instead of uint8.
    """

    def __init__(
        self, colour: Colour, width: int, height: int, *, alpha: bool, deep: bool
    ) -> None:
        self._reformatter = VideoReformatter()
        self._colour = colour
        self._size = (width, height)
        self._format = {
            (False, False): "rgb24",
            (True, False): "rgba",
            (False, True): "rgb48le",
            (True, True): "rgba64le",
        }[alpha, deep]

    def __call__(self, frame: VideoFrame) -> Pixels:
        """One frame as a new C-contiguous array."""
        rgb = is_rgb(frame.format.name)
        matrix = _sws_matrix(self._colour.matrix)
        full = FULL if rgb else self._colour.range
        out = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format=self._format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=full,
            dst_color_range=FULL,
            interpolation=_QUALITY,
            threads=1,
        )
        pixels: Any = out.to_ndarray()
        return cast(Pixels, pixels)


class FromRGB:
    """Converts RGB(A) arrays to frames of a coded format, with their tags.

    Args:
        pix_fmt: format of the encoder, for example ``yuv420p10le``.
        colour: resolved tags; the matrix and range used and written.
    """

    def __init__(self, pix_fmt: str, colour: Colour) -> None:
        self._reformatter = VideoReformatter()
        self._pix_fmt = pix_fmt
        self._colour = colour

    def __call__(self, pixels: Pixels) -> VideoFrame:
        """One frame; alpha is dropped where the format has none."""
        deep = pixels.dtype == np.uint16
        name = {3: "rgb48le", 4: "rgba64le"} if deep else {3: "rgb24", 4: "rgba"}
        contiguous: Any = np.ascontiguousarray(pixels)
        source = VideoFrame.from_numpy_buffer(contiguous, name[pixels.shape[2]])
        matrix = _sws_matrix(self._colour.matrix)
        rgb = is_rgb(self._pix_fmt)
        frame = self._reformatter.reformat(
            source,
            format=self._pix_fmt,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=FULL,
            dst_color_range=FULL if rgb else self._colour.range,
            interpolation=_QUALITY,
            threads=1,
        )
        frame.colorspace = 0 if rgb else self._colour.matrix
        frame.color_range = FULL if rgb else self._colour.range
        frame.color_primaries = self._colour.primaries
        frame.color_trc = self._colour.transfer
        return frame
