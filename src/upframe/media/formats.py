"""Which codec, pixel format and options a container gets, and what users may ask."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec import Codec

from upframe.errors import UsageError
from upframe.media.colour import FULL, LIMITED, Colour, bit_depth, has_alpha
from upframe.media.frames import SourceInfo

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
)
IMAGE_OUTPUTS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm"})
MUXERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm",
}  # fmt: skip
"""Containers that upframe writes, by file suffix."""

ENCODERS = {
    "h264": "libx264", "x264": "libx264", "avc": "libx264",
    "hevc": "libx265", "h265": "libx265", "x265": "libx265",
    "av1": "libsvtav1", "svtav1": "libsvtav1",
    "vp9": "libvpx-vp9", "ffv1": "ffv1", "prores": "prores_ks",
}  # fmt: skip
"""Names that people use for codecs, to FFmpeg's encoders."""

_CRF = {"libx264": 16, "libx265": 18, "libsvtav1": 24, "libvpx-vp9": 20}
_CRF_TOP = {"libx264": 51, "libx265": 51, "libsvtav1": 63, "libvpx-vp9": 63}
_X265_LEAST = 64
"""x265 writes past its buffers on frames smaller than its largest coding unit, and
sometimes crashes the process (seen with FFmpeg 8 wheels at 48x48)."""
_DEFAULTS: dict[str, dict[str, str]] = {
    # superfast with the macroblock tree of the slower presets: as small as veryfast
    # at 0.9 dB less (41.9 against 42.8 dB), in 56% of its time
    "libx264": {"preset": "superfast", "x264-params": "mbtree=1:rc-lookahead=10"},
    "libx265": {"preset": "fast", "x265-params": "log-level=error"},
    "libsvtav1": {"preset": "9"},
    "libvpx-vp9": {"row-mt": "1", "cpu-used": "4", "deadline": "good", "b": "0"},
    "ffv1": {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"},
    "prores_ks": {},
}
_PIX_FMTS: dict[str, tuple[str, ...]] = {
    # in order of preference for: 8-bit, 10-bit, 8-bit alpha, 10-bit alpha
    "libx264": ("yuv420p", "yuv420p10le"),
    "libx265": ("yuv420p", "yuv420p10le"),
    "libsvtav1": ("yuv420p", "yuv420p10le"),
    "libvpx-vp9": ("yuv420p", "yuv420p10le", "yuva420p"),
    "ffv1": ("yuv444p", "yuv444p10le", "yuva444p", "yuva444p10le"),
    "prores_ks": ("yuv422p10le", "yuv422p10le", "yuva444p10le", "yuva444p10le"),
}


@dataclass(frozen=True)
class VideoFormat:
    """How the result is coded."""

    muxer: str
    """FFmpeg's name of the container; ``image2`` for folders of images."""
    encoder: str
    pix_fmt: str
    width: int
    height: int
    sar: Fraction
    rate: Fraction
    colour: Colour
    options: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def alpha(self) -> bool:
        """Whether the coded frames hold alpha."""
        return has_alpha(self.pix_fmt)

    @property
    def deep(self) -> bool:
        """Whether the coded frames hold more than 8 bits a sample."""
        return bit_depth(self.pix_fmt) > 8


def choose_format(
    info: SourceInfo,
    suffix: str,
    width: int,
    height: int,
    *,
    codec: str | None = None,
    crf: int | None = None,
    pix_fmt: str | None = None,
    options: dict[str, str] | None = None,
) -> VideoFormat:
    """Choose container, encoder and pixel format for a result.

    By default H.264 for 8 bits, HEVC for more, VP9 in WebM, ProRes 4444 for alpha in
    MOV; the depth of the source is kept.

    Args:
        info: the source.
        suffix: of the output file, with its dot, lower case.
        width: output width in pixels.
        height: output height in pixels.
        codec: a name of `ENCODERS`, or an FFmpeg encoder.
        crf: constant quality; the encoder's own scale.
        pix_fmt: FFmpeg pixel format.
        options: further options of the encoder.

    Raises:
        UsageError: suffix, codec or pixel format are unknown or do not fit.
    """
    muxer = _muxer(suffix)
    encoder = _encoder(codec, muxer, info, min(width, height))
    warnings: list[str] = []
    if pix_fmt is None:
        pix_fmt = _pix_fmt(encoder, info, width, height, warnings)
    _check_pix_fmt(encoder, pix_fmt)
    colour = info.colour
    if encoder == "prores_ks" and colour.range == FULL:
        colour = replace(colour, range=LIMITED)
        warnings.append(
            "ProRes cannot be tagged as full range: it is written in limited range, "
            "which shows the same colours."
        )
    return VideoFormat(
        muxer=muxer,
        encoder=encoder,
        pix_fmt=pix_fmt,
        width=width,
        height=height,
        sar=info.sar,
        rate=info.rate,
        colour=colour,
        options=_settings(encoder, info, pix_fmt, crf, options or {}),
        warnings=tuple(warnings),
    )


def _pix_fmt(
    encoder: str, info: SourceInfo, width: int, height: int, warnings: list[str]
) -> str:
    """The encoder's format that keeps depth and alpha; adds warnings on losses."""
    choice = _PIX_FMTS.get(encoder, ("yuv420p", "yuv420p"))
    deep = info.depth > 8
    index = int(deep)
    if info.alpha and len(choice) > 2:
        index = 2 + int(deep and len(choice) > 3)
    elif info.alpha:
        warnings.append(
            f"{encoder} holds no alpha: transparency is dropped "
            "(-o NAME.webm, or -c:v prores with -o NAME.mov, keeps it)."
        )
    pix_fmt = choice[index]
    if deep and bit_depth(pix_fmt) <= 8:
        warnings.append(
            f"{encoder} with alpha holds 8 bits: {info.depth} bits are rounded."
        )
    if encoder not in ("ffv1", "prores_ks") and (width % 2 or height % 2):
        pix_fmt = pix_fmt.replace("420", "444").replace("yuva444p", "yuva420p")
        if "444" in pix_fmt:
            warnings.append(
                f"{width}x{height} has an odd side: 4:4:4 colour is used, which "
                "some players cannot show (an even --size avoids it)."
            )
    return pix_fmt


def _settings(
    encoder: str,
    info: SourceInfo,
    pix_fmt: str,
    crf: int | None,
    options: dict[str, str],
) -> dict[str, str]:
    """The encoder's options: defaults, quality, HDR metadata, then the user's."""
    settings = {**_DEFAULTS.get(encoder, {})}
    if encoder == "libx264" and "preset" in options:
        del settings["x264-params"]  # a preset of the user's is taken as it is
    if encoder in _CRF or crf is not None:
        settings["crf"] = str(_CRF.get(encoder, 20) if crf is None else crf)
    top = _CRF_TOP.get(encoder)
    if crf is not None and top is not None and not 0 <= crf <= top:
        raise UsageError(
            f"--crf {crf} is outside 0 to {top} of {encoder}.", "Lower is better."
        )
    if encoder == "prores_ks":
        settings["profile"] = "4444" if "444" in pix_fmt else "hq"
    for key, value in _hdr_options(encoder, info).items():
        settings[key] = f"{settings[key]}:{value}" if key in settings else value
    return {**settings, **options}


def _muxer(suffix: str) -> str:
    if suffix not in MUXERS:
        known = " ".join(sorted(MUXERS))
        raise UsageError(
            f"upframe does not write {suffix or 'files without a suffix'}.",
            f"Use one of {known}, a folder for images, or - for a pipe.",
        )
    return MUXERS[suffix]


def _encoder(codec: str | None, muxer: str, info: SourceInfo, side: int) -> str:
    if codec is None:
        if muxer == "webm":
            return "libvpx-vp9"
        if info.alpha and muxer == "mov":
            return "prores_ks"
        if info.alpha and muxer == "matroska":
            return "libvpx-vp9" if info.depth <= 8 else "ffv1"
        deep = info.depth > 8 or info.colour.is_hdr
        return "libx265" if deep and side >= _X265_LEAST else "libx264"
    name = ENCODERS.get(codec.lower(), codec)
    try:
        found = Codec(name, "w")
    except (ValueError, av.error.FFmpegError) as exc:
        raise UsageError(
            f"There is no video encoder named {codec!r}.",
            f"Known: {', '.join(sorted(set(ENCODERS) - {'avc', 'x264', 'x265'}))}.",
        ) from exc
    if found.type != "video":
        raise UsageError(f"{codec!r} is no video encoder.", "Name one for video.")
    if name == "libx265" and side < _X265_LEAST:
        raise UsageError(
            f"x265 is not safe on frames below {_X265_LEAST} pixels a side.",
            "Use -c:v h264, or ask for a larger output.",
        )
    if muxer == "webm" and name not in ("libvpx-vp9", "libvpx", "libsvtav1"):
        raise UsageError(
            f"WebM cannot hold {codec}.", "Use vp9 or av1, or write NAME.mkv."
        )
    if muxer in ("mp4", "mov") and name == "ffv1":
        raise UsageError(f"{muxer.upper()} cannot hold FFV1.", "Write NAME.mkv.")
    if muxer == "mp4" and name == "prores_ks":
        raise UsageError("MP4 cannot hold ProRes.", "Write NAME.mov or NAME.mkv.")
    return name


def _check_pix_fmt(encoder: str, pix_fmt: str) -> None:
    try:
        av.VideoFormat(pix_fmt)
    except ValueError as exc:
        raise UsageError(
            f"There is no pixel format named {pix_fmt!r}.", "For example: yuv420p."
        ) from exc
    known = [fmt.name for fmt in Codec(encoder, "w").video_formats or []]
    if known and pix_fmt not in known:
        raise UsageError(
            f"{encoder} cannot code {pix_fmt}.", f"It takes: {', '.join(known)}."
        )


def _hdr_options(encoder: str, info: SourceInfo) -> dict[str, str]:
    """Static HDR metadata as options of an encoder; empty where it has none."""
    mastering, light = info.hdr.mastering, info.hdr.light
    if encoder == "libsvtav1" and mastering:
        # the same values, but as plain numbers instead of the codec's integers
        def plain(match: re.Match[str]) -> str:
            unit = 10000 if match[1] == "L" else 50000
            pair = ",".join(f"{int(match[k]) / unit:.5f}" for k in (2, 3))
            return f"{match[1]}({pair})"

        mastering = re.sub(r"([A-Z]+)\((\d+),(\d+)\)", plain, mastering)
    names = {
        "libx264": ("x264-params", "mastering-display", "cll"),
        "libx265": ("x265-params", "master-display", "max-cll"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
    }
    if encoder not in names:
        return {}
    option, key, light_key = names[encoder]
    words = [f"{key}={mastering}"] if mastering else []
    words += [f"{light_key}={light}"] if light else []
    if encoder == "libx265" and info.colour.is_hdr:
        words += ["hdr-opt=1", "repeat-headers=1"]
    return {option: ":".join(words)} if words else {}


def default_suffix(source: Path) -> str:
    """Suffix of the output when none is asked for: the source's, else ``.mkv``."""
    suffix = source.suffix.lower()
    if suffix == ".gif":
        return ".mp4"
    return suffix if suffix in MUXERS else ".mkv"
