"""A clip through a video codec and back, in memory: real compression artefacts.

Encoder and decoder are joined packet by packet, without a container and without files.
The result depends on the arguments alone: both run on one thread, and x264 without the
code paths that give another stream at every run (see `upframe.media.encoder`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av.error
import numpy as np
from av.codec import CodecContext
from numpy.typing import NDArray

from upframe.errors import RuntimeFailure
from upframe.media.codecs import Codec
from upframe.media.colour import Colour, FromRGB, ToRGB, resolve
from upframe.media.encoder import reproducible

_DECODERS: dict[Codec, str] = {
    "libx264": "h264",
    "libx265": "hevc",
    "libvpx-vp9": "vp9",
    "mpeg2video": "mpeg2video",
    "mpeg4": "mpeg4",
}
_RATE = Fraction(25)
_LEAST: dict[Codec, int] = {
    "libx264": 32,
    "libx265": 128,
    "libvpx-vp9": 32,
    "mpeg2video": 32,
    "mpeg4": 32,
}
"""Shorter sides are padded. x265 (4.1) writes past its buffers on frames smaller than
64, which takes the process down, and gives varying results on those padded to 64."""


def recode(
    clip: NDArray[np.uint8],
    codec: Codec,
    *,
    quality: float | None = None,
    bits_per_pixel: float | None = None,
) -> NDArray[np.uint8]:
    """Compress a clip as 4:2:0 video and decode it again.

    Args:
        clip: (T, H, W, 3) uint8 RGB, any size; odd sizes are padded by their edge for
            the codec and cut back.
        codec: which encoder.
        quality: constant quality: CRF 0..51 of x264 and x265, 0..63 of VP9,
            quantiser 1..31 of MPEG-2 and MPEG-4; higher is worse.
        bits_per_pixel: average bit rate instead of a quality, in bits per pixel of a
            frame, above 0. On short clips encoders meet it only roughly.

    Returns:
        (T, H, W, 3) uint8, the same frames in the same order after the codec.

    Raises:
        ValueError: if neither or both of ``quality`` and ``bits_per_pixel`` are given,
            or the clip is no (T, H, W, 3) uint8 or empty.
        RuntimeFailure: if the codec is missing from FFmpeg or fails.
    """
    if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or not clip.size:
        raise ValueError(f"expected (T, H, W, 3) uint8, got {clip.dtype} {clip.shape}")
    if (quality is None) == (bits_per_pixel is None):
        raise ValueError("give either quality or bits_per_pixel")
    count, height, width = clip.shape[:3]
    padded = _padded(clip, _LEAST[codec])
    # The padding is flat and costs next to nothing: the rate is that of the clip.
    rate = bits_per_pixel and bits_per_pixel * height * width * float(_RATE)
    try:
        decoded = _round_trip(padded, codec, quality, rate)
    except (av.error.FFmpegError, ValueError) as exc:
        raise RuntimeFailure(
            f"{codec} failed on a clip of {count} frames {width}x{height}: {exc}.",
            "Check that FFmpeg was built with this codec.",
        ) from exc
    if len(decoded) != count:
        raise RuntimeFailure(
            f"{codec} gave {len(decoded)} of {count} frames back.",
            "Report this with the clip; another codec may serve meanwhile.",
        )
    return np.ascontiguousarray(np.stack(decoded)[:, :height, :width])


def _padded(clip: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """The clip with even sides of at least ``least``, padded by its edges."""
    height, width = clip.shape[1:3]
    bottom, right = (max(least, n + n % 2) - n for n in (height, width))
    if not (bottom or right):
        return clip
    return np.pad(clip, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")


def _round_trip(
    clip: NDArray[np.uint8], codec: Codec, quality: float | None, rate: float | None
) -> list[NDArray[np.uint8]]:
    """All frames encoded and decoded again; ``rate`` in bits per second."""
    height, width = clip.shape[1:3]
    colour = resolve(Colour(2, 2, 2, 0), width, height, rgb=False)
    to_rgb = ToRGB(colour, width, height, alpha=False, deep=False)
    encoder = _encoder(codec, [height, width], quality, rate)
    decoder: Any = CodecContext.create(_DECODERS[codec], "r")
    decoder.thread_count = 1
    from_rgb = FromRGB("yuv420p", colour)
    packets = []
    for number, pixels in enumerate(clip):
        frame = from_rgb(pixels)
        frame.pts, frame.time_base = number, 1 / _RATE
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    return [np.asarray(to_rgb(frame), np.uint8) for frame in decoded]


def _encoder(
    codec: Codec, size: list[int], quality: float | None, rate: float | None
) -> Any:
    """An open encoder for frames of (height, width); ``rate`` in bits per second."""
    context: Any = CodecContext.create(codec, "w")
    context.height, context.width = size
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = 1 / _RATE, _RATE
    context.thread_count = 1
    options: dict[str, str] = {}
    if codec == "libx265":
        options["x265-params"] = "log-level=none:pools=none:frame-threads=1"
    if codec == "libvpx-vp9":
        options |= {"deadline": "good", "cpu-used": "5"}
    if rate is not None:
        context.bit_rate = max(1000, round(rate))
    elif codec in ("mpeg2video", "mpeg4"):
        options["qmin"] = options["qmax"] = str(round(quality or 0))
    else:
        options["crf"] = f"{quality:g}"
    context.options = reproducible(codec, options)
    context.open()
    return context
