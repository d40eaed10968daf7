"""Makes every kind of video the tests need, and reads back what a file really holds.

No binary fixture: :func:`write_clip` draws frames whose pixels say which frame they
are, and muxes them with PyAV into whatever container, codec, colour tagging, timing
and company of other streams a test asks for. :func:`describe` demuxes and decodes a
file and reports frame numbers, exact times, tags and streams. Neither uses anything
of upframe, and the conversions between RGB and YUV are written out here, so that a
mistake in the engine cannot hide behind the same mistake in the test.

The picture, in fractions of its size, so that it survives scaling::

    0      .5    .75    1
    +-------+-----+-----+ 0     gradient | two flat patches (:data:`PATCHES`)
    |  grad |  A  |  B  |
    +-------+-----+-----+ .4    4 x 3 cells: white, ten bits of the Gray code of the
    | W b9 b8 b7        |       frame number (one cell changes from a frame to the
    | b6 b5 b4 b3       |       next), black; scenes with an odd number swap black
    | b2 b1 b0 K        |       and white
    +-------------------+ 1
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

CODE_TOP = 0.4
COLUMNS, ROWS = 4, 3
BITS = COLUMNS * ROWS - 2

#: Colours of the two flat patches, for scenes with an even and an odd number.
PATCHES = (
    ((200, 40, 40), (40, 160, 220)),
    ((60, 180, 60), (220, 180, 30)),
)
#: The two patches as (x0, y0, x1, y1) in fractions.
PATCH_BOXES = ((0.5, 0.0, 0.75, CODE_TOP), (0.75, 0.0, 1.0, CODE_TOP))
#: Alpha of the two patches in clips with transparency; everything else is opaque
#: but for the gradient, which fades to a quarter.
PATCH_ALPHA = (128 / 255, 1.0)

MATRICES = {"rgb": 0, "bt709": 1, "bt470bg": 5, "bt601": 6, "bt2020": 9}
PRIMARIES = {"bt709": 1, "bt470bg": 5, "bt601": 6, "bt2020": 9}
TRANSFERS = {"bt709": 1, "bt601": 6, "srgb": 13, "bt2020": 14, "pq": 16, "hlg": 18}
RANGES = {"tv": 1, "pc": 2}
KR_KB = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
}

NO_DISPOSITION = Disposition(0)

MASTERING_X265 = (
    "repeat-headers=1:hdr10=1:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,500):max-cll=1000,400"
)


# --------------------------------------------------------------------------- drawing


def gray_code(number: int) -> int:
    """Gray code of ``number``: neighbours differ in one bit."""
    return number ^ (number >> 1)


def from_gray_code(code: int) -> int:
    """Inverse of :func:`gray_code`."""
    number = 0
    while code:
        number ^= code
        code >>= 1
    return number


def render(
    number: int,
    size: tuple[int, int],
    *,
    scene: int = 0,
    alpha: bool = False,
    phase: float | None = None,
) -> np.ndarray:
    """Draw frame ``number``.

    Args:
        number: 0 .. 1023, written into the picture.
        size: width and height.
        scene: odd scenes use other colours and swap black and white.
        alpha: add a fourth channel.
        phase: draw vertical bars, moved by this many bar widths, in place of the
            gradient (for interlacing).

    Returns:
        ``(height, width, 3 or 4)`` float RGB(A) in [0, 1].
    """
    width, height = size
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    xx, yy = np.meshgrid(x, y)
    image = np.empty((height, width, 4))
    image[..., 3] = 1.0

    left = (yy < CODE_TOP) & (xx < 0.5)
    u, v = xx / 0.5, yy / CODE_TOP
    grad = np.stack([0.15 + 0.7 * u, 0.2 + 0.6 * v, 0.8 - 0.6 * u], axis=-1)
    if scene % 2:
        grad = 1.0 - grad
    if phase is not None:
        bars = 0.5 + 0.45 * np.sign(np.sin((u * 4 + phase) * np.pi))
        grad = np.repeat(bars[..., None], 3, axis=-1)
    image[left, :3] = grad[left]
    image[left, 3] = (1.0 - 0.75 * v)[left]
    for box, colour, opacity in zip(
        PATCH_BOXES, PATCHES[scene % 2], PATCH_ALPHA, strict=True
    ):
        inside = (xx >= box[0]) & (xx < box[2]) & (yy < box[3])
        image[inside, :3] = np.array(colour) / 255
        image[inside, 3] = opacity

    code = gray_code(number)
    bits = [1, *((code >> i) & 1 for i in reversed(range(BITS))), 0]
    row = np.clip(((yy - CODE_TOP) / (1 - CODE_TOP) * ROWS).astype(int), 0, ROWS - 1)
    column = np.clip((xx * COLUMNS).astype(int), 0, COLUMNS - 1)
    value = np.array(bits)[row * COLUMNS + column] ^ (scene % 2)
    below = yy >= CODE_TOP
    image[below, :3] = (0.06 + 0.88 * value[below])[:, None]
    return image if alpha else image[..., :3]


def read_number(image: np.ndarray) -> int:
    """Read the frame number out of ``(h, w, >=3)`` or ``(h, w)``; -1 if unreadable."""
    luma = image if image.ndim == 2 else image[..., :3].mean(axis=-1)
    height, width = luma.shape
    means = []
    for index in range(COLUMNS * ROWS):
        row, column = divmod(index, COLUMNS)
        y0 = CODE_TOP + (row + 0.3) / ROWS * (1 - CODE_TOP)
        y1 = CODE_TOP + (row + 0.7) / ROWS * (1 - CODE_TOP)
        x0, x1 = (column + 0.3) / COLUMNS, (column + 0.7) / COLUMNS
        means.append(luma[_span(y0, y1, height), _span(x0, x1, width)].mean())
    white, black = means[0], means[-1]
    if abs(white - black) < 0.3:
        return -1
    levels = (np.array(means[1:-1]) - black) / (white - black)
    if (np.abs(levels - 0.5) < 0.12).any():
        return -1
    code = 0
    for level in levels:
        code = code << 1 | int(level > 0.5)
    return from_gray_code(code)


def patch_means(image: np.ndarray) -> np.ndarray:
    """Mean colour of the inner part of both patches, ``(2, channels)`` in [0, 255]."""
    height, width = image.shape[:2]
    means = []
    for x0, y0, x1, y1 in PATCH_BOXES:
        mx, my = (x1 - x0) * 0.3, (y1 - y0) * 0.3
        part = image[_span(y0 + my, y1 - my, height), _span(x0 + mx, x1 - mx, width)]
        means.append(part.reshape(-1, image.shape[2]).mean(axis=0))
    return np.array(means) * 255


def _span(start: float, stop: float, size: int) -> slice:
    first = min(int(start * size), size - 1)
    return slice(first, max(first + 1, int(np.ceil(stop * size))))


# --------------------------------------------------------------- RGB to planes and back


def _rgb_to_ycbcr(rgb: np.ndarray, matrix: int) -> np.ndarray:
    """RGB in [0, 1] to Y in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    kr, kb = KR_KB[matrix]
    y = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    cb = (rgb[..., 2] - y) / (2 * (1 - kb))
    cr = (rgb[..., 0] - y) / (2 * (1 - kr))
    return np.stack([y, cb, cr], axis=-1)


def _ycbcr_to_rgb(y: np.ndarray, cb: np.ndarray, cr: np.ndarray, matrix: int) -> Any:
    kr, kb = KR_KB[matrix]
    red = y + 2 * (1 - kr) * cr
    blue = y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.stack([red, green, blue], axis=-1)


def _levels(bits: int, full: bool) -> tuple[float, float, float, float]:
    """Offset and gain of luma, offset and gain of chroma, in code values."""
    unit = 1 << (bits - 8)
    if full:
        top = (1 << bits) - 1
        return 0.0, top, 128.0 * unit, top
    return 16.0 * unit, 219.0 * unit, 128.0 * unit, 224.0 * unit


def _is_planar_yuv(fmt: Any) -> bool:
    gray = fmt.name.startswith("gray")
    planar = fmt.name.startswith(("yuv", "yuva", "yuvj"))
    packed = fmt.name.startswith(("yuyv", "yuvyuv"))
    return (planar or gray) and not packed and fmt.name not in {"grayf32le"}


def to_frame(
    image: np.ndarray, pix_fmt: str, *, matrix: int = 6, full: bool = False
) -> av.VideoFrame:
    """Turn float RGB(A) into a frame of ``pix_fmt`` with the matrix and range given."""
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    fmt = frame.format
    if not _is_planar_yuv(fmt):
        return _packed_frame(image, pix_fmt)
    full = full or fmt.name.startswith("yuvj")
    ycc = _rgb_to_ycbcr(image[..., :3], matrix)
    for index, component in enumerate(fmt.components):
        bits = component.bits
        y_off, y_gain, c_off, c_gain = _levels(bits, full)
        is_alpha = index == 3 or (fmt.name.startswith("ya") and index == 1)
        if is_alpha:
            opaque = np.ones((height, width))
            values = (image[..., 3] if image.shape[2] == 4 else opaque) * (
                (1 << bits) - 1
            )
        elif index == 0:
            values = ycc[..., 0] * y_gain + y_off
        else:
            values = _shrink(ycc[..., index], component.width, component.height)
            values = values * c_gain + c_off
        values = np.clip(np.rint(values), 0, (1 << bits) - 1)
        _fill_plane(frame.planes[component.plane], values, bits)
    return frame


def _shrink(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Box-average chroma down to the plane's size (also from odd sizes)."""
    for axis, target in ((0, height), (1, width)):
        size = values.shape[axis]
        if size != target:
            edges = np.minimum(np.arange(0, target + 1) * 2, size)
            sums = np.add.reduceat(values, edges[:-1], axis=axis)
            shape = [1, 1]
            shape[axis] = target
            values = sums / np.diff(edges).reshape(shape)
    return values


def _fill_plane(plane: Any, values: np.ndarray, bits: int) -> None:
    kind = np.dtype("<u2") if bits > 8 else np.dtype("u1")
    row = plane.line_size // kind.itemsize
    padded = np.zeros((plane.height, row), kind)
    padded[:, : values.shape[1]] = values
    plane.update(padded.tobytes())


def _packed_frame(image: np.ndarray, pix_fmt: str) -> av.VideoFrame:
    deep = any(mark in pix_fmt for mark in ("48", "64", "10", "12", "16"))
    has_alpha = image.shape[2] == 4
    if deep:
        source = "rgba64le" if has_alpha else "rgb48le"
        data = np.rint(image * 65535).astype("<u2")
    else:
        source = "rgba" if has_alpha else "rgb24"
        data = np.rint(image * 255).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(data), source)
    if pix_fmt == source:
        return frame
    return frame.reformat(format=pix_fmt)


def to_rgb(frame: av.VideoFrame, matrix: int | None = None) -> np.ndarray:
    """Decode a frame to float RGB(A) by its own tags; 4:2:0 chroma is repeated.

    Args:
        frame: any pixel format.
        matrix: used where the frame names none; BT.601 by default.
    """
    fmt = frame.format
    if not _is_planar_yuv(fmt):
        return _packed_rgb(frame)
    tagged = frame.colorspace
    use = tagged if tagged in KR_KB else (matrix or 6)
    full = frame.color_range == 2 or fmt.name.startswith("yuvj")
    if fmt.name.startswith("gray") and frame.color_range != 1:
        full = True
    planes = []
    for component in fmt.components:
        bits = component.bits
        plane = frame.planes[component.plane]
        kind = np.dtype("<u2") if bits > 8 else np.dtype("u1")
        row = plane.line_size // kind.itemsize
        data = np.frombuffer(plane, kind)[: row * plane.height]
        planes.append(data.reshape(plane.height, row)[:, : component.width])
    height, width = frame.height, frame.width
    bits = fmt.components[0].bits
    y_off, y_gain, c_off, c_gain = _levels(bits, full)
    y = (planes[0].astype(float) - y_off) / y_gain
    if len(planes) < 3:
        rgb = np.repeat(y[..., None], 3, axis=-1)
    else:
        chroma = []
        for plane in planes[1:3]:
            tall = np.repeat(plane, -(-height // plane.shape[0]), axis=0)[:height]
            wide = np.repeat(tall, -(-width // plane.shape[1]), axis=1)[:, :width]
            chroma.append((wide.astype(float) - c_off) / c_gain)
        rgb = _ycbcr_to_rgb(y, *chroma, use)
    if len(planes) == 4:
        alpha = planes[3].astype(float) / ((1 << bits) - 1)
        rgb = np.dstack([rgb, alpha])
    return rgb


def _packed_rgb(frame: av.VideoFrame) -> np.ndarray:
    alpha = has_alpha(frame.format.name)
    deep = max(c.bits for c in frame.format.components) > 8
    if deep:
        target, top = ("rgba64le" if alpha else "rgb48le"), 65535
    else:
        target, top = ("rgba" if alpha else "rgb24"), 255
    converted = frame if frame.format.name == target else frame.reformat(format=target)
    return converted.to_ndarray().astype(float) / top


def has_alpha(pix_fmt: str) -> bool:
    """Whether a pixel format has an alpha plane (``pal8`` counts)."""
    if pix_fmt == "pal8":
        return True
    return len(av.VideoFormat(pix_fmt, 16, 16).components) in (2, 4)


# --------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class Audio:
    """A sound track to write."""

    codec: str = "aac"
    language: str | None = None
    title: str | None = None
    start: Fraction = Fraction(0)
    seconds: Fraction | None = None
    rate: int = 48000
    layout: str = "stereo"
    disposition: Disposition = NO_DISPOSITION


@dataclass(frozen=True)
class Subtitle:
    """A subtitle track to write: cues are (start, end, text) in seconds."""

    codec: str = "subrip"
    language: str | None = None
    title: str | None = None
    disposition: Disposition = NO_DISPOSITION
    cues: tuple[tuple[float, float, str], ...] = (
        (0.04, 0.2, "Hello"),
        (0.24, 0.4, "wörld"),
    )


@dataclass(frozen=True)
class Chapter:
    """A chapter mark, in seconds."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True)
class Attachment:
    """A file carried along, a font for example."""

    name: str
    mimetype: str
    data: bytes


FONT = Attachment("Sans Ünï.ttf", "font/ttf", bytes(range(256)) * 3)

LOSSLESS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "12", "preset": "veryfast"},
    "libx265": {
        "crf": "12",
        "preset": "ultrafast",
        # with B-frames and fewer frames than its delay, its dts are wild
        "x265-params": "log-level=error:bframes=0",
    },
    "libvpx-vp9": {"crf": "12", "b": "0", "deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"crf": "15", "preset": "12"},
    "mpeg4": {"qscale": "2"},
    "mpeg2video": {"qscale": "2"},
    "prores_ks": {"qscale": "4"},
}


def regular_pts(frames: int, rate: Fraction, time_base: Fraction) -> list[int]:
    """Presentation times of a constant frame rate in ``time_base`` units."""
    return [round(i / rate / time_base) for i in range(frames)]


def write_clip(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    start: Fraction = Fraction(0),
    sar: Fraction | None = None,
    rotation: float = 0,
    hflip: bool = False,
    matrix: str | None = None,
    color_range: str | None = None,
    primaries: str | None = None,
    transfer: str | None = None,
    draw_matrix: str | None = None,
    interlaced: str | None = None,
    combed: bool = False,
    scenes: Sequence[int] = (),
    still: bool = False,
    audio: Sequence[Audio] = (),
    audio_first: bool = False,
    subtitles: Sequence[Subtitle] = (),
    chapters: Sequence[Chapter] = (),
    attachments: Sequence[Attachment] = (),
    metadata: Mapping[str, str] | None = None,
    video_metadata: Mapping[str, str] | None = None,
    video_disposition: Disposition = NO_DISPOSITION,
    cover: str | None = None,
    extra_videos: int = 0,
    data_tracks: int = 0,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    format: str | None = None,
    mangle: Callable[[int, av.Packet], av.Packet | None] | None = None,
) -> Path:
    """Write a clip whose frames say their number; every part of it is optional.

    Args:
        path: the suffix chooses the container unless ``format`` does.
        frames: how many.
        size: width and height.
        codec: name of an FFmpeg encoder.
        pix_fmt: pixel format; one with alpha gets a drawn alpha plane.
        rate: frames per second, where ``pts`` is not given.
        pts: presentation times of the frames in ``time_base`` units.
        time_base: the encoder's; ``1 / rate`` by default.
        start: added to every time of every stream, in seconds.
        sar: sample aspect ratio.
        rotation: display rotation in degrees, counter-clockwise as PyAV has it.
        hflip: mirror, in the display matrix.
        matrix: tag, a key of :data:`MATRICES`; untagged when None.
        color_range: tag, ``tv`` or ``pc``.
        primaries: tag, a key of :data:`PRIMARIES`.
        transfer: tag, a key of :data:`TRANSFERS`.
        draw_matrix: matrix the pixels are made with if not the one tagged.
        interlaced: ``tff`` or ``bff``: flag the stream so.
        combed: draw moving bars with the two fields at different times.
        scenes: numbers of the frames at which a new scene begins.
        still: draw the same number (0) in all frames.
        audio: sound tracks.
        audio_first: put them before the video.
        subtitles: subtitle tracks.
        chapters: chapter marks.
        attachments: attached files (Matroska).
        metadata: of the file.
        video_metadata: of the video stream (``title``, ``language``, ...).
        video_disposition: of the video stream.
        cover: codec (``mjpeg`` or ``png``) of a cover picture.
        extra_videos: further video tracks, half the size, numbers from 500.
        data_tracks: number of data tracks (``bin_data``) with one packet each.
        options: of the encoder, over the defaults.
        container_options: of the muxer.
        format: muxer name.
        mangle: called with (index, packet) of each video packet before it is muxed;
            returns the packet to write, or None to leave it out.

    Returns:
        ``path``.
    """
    rate = Fraction(rate)
    time_base = Fraction(time_base or 1 / rate)
    times = list(pts) if pts is not None else regular_pts(frames, rate, time_base)
    length = (max(times) - min(times)) * time_base + 1 / rate if times else Fraction(0)
    drawn = draw_matrix or matrix
    draw_id = MATRICES[drawn] if drawn else 6
    full = color_range == "pc"
    with av.open(
        str(path), "w", format=format, options=dict(container_options or {})
    ) as out:
        out.metadata.update(metadata or {})
        if chapters:
            out.set_chapters(
                [
                    {
                        "id": i + 1,
                        "start": int((c.start + start) * 1000),
                        "end": int((c.end + start) * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": c.title},
                    }
                    for i, c in enumerate(chapters)
                ]
            )
        chosen = {**LOSSLESS.get(codec, {}), **(options or {})}
        if interlaced:
            chosen["flags"] = "+ildct+ilme"
            if codec == "libx264":
                top = "tff" if interlaced == "tff" else "bff"
                chosen["x264-params"] = f"{top}=1"
            if codec == "mpeg2video":
                chosen["field_order"] = "tt" if interlaced == "tff" else "bb"
        sounds = [_add_audio(out, track) for track in audio if audio_first]
        video = _add_video(out, codec, rate, size, pix_fmt, time_base, chosen)
        context = video.codec_context
        if sar is not None:
            context.sample_aspect_ratio = sar
        for name, value, table in (
            ("colorspace", matrix, MATRICES),
            ("color_range", color_range, RANGES),
            ("color_primaries", primaries, PRIMARIES),
            ("color_trc", transfer, TRANSFERS),
        ):
            if value is not None:
                setattr(context, name, table[value])
        if rotation or hflip:
            video.set_display_rotation(rotation, hflip=hflip)
        video.metadata.update(video_metadata or {})
        video.disposition = video_disposition
        extras = [
            _add_video(
                out, codec, rate, (size[0] // 2, size[1] // 2), pix_fmt, time_base, {}
            )
            for _ in range(extra_videos)
        ]
        sounds += [_add_audio(out, track) for track in audio if not audio_first]
        texts = [_add_subtitle(out, track) for track in subtitles]
        datas = []
        for _ in range(data_tracks):
            data = out.add_data_stream("bin_data")
            data.time_base = Fraction(1, 1000)
            datas.append(data)
        picture = None
        carried = list(attachments)
        if cover and out.format.name == "matroska":
            kind = "jpeg" if cover == "mjpeg" else cover
            data = _still_image(cover, (32, 32))
            carried.append(Attachment(f"cover.{kind}", f"image/{kind}", data))
        elif cover:
            picture = _add_cover(out, cover)
        for item in carried:
            out.add_attachment(item.name, item.mimetype, item.data)
        out.start_encoding()
        if picture is not None:
            picture_packet = av.Packet(_still_image(cover or "png", (32, 32)))
            picture_packet.stream = picture
            picture_packet.pts = picture_packet.dts = 0
            picture_packet.time_base = Fraction(1, 1000)
            picture_packet.is_keyframe = True
            out.mux(picture_packet)

        packets: list[tuple[Fraction, int, av.Packet]] = []
        index = 0
        for stream, first, dims in (
            (video, 0, size),
            *((s, 500, (size[0] // 2, size[1] // 2)) for s in extras),
        ):
            for packet in _encode_video(
                stream,
                first,
                dims,
                times,
                time_base,
                start,
                pix_fmt,
                draw_id,
                full,
                scenes,
                interlaced,
                combed,
                still,
            ):
                if stream is video and mangle is not None:
                    changed = mangle(index, packet)
                    index += 1
                    if changed is None:
                        continue
                    packet = changed
                packets.append((_when(packet), packet.stream.index, packet))
        for stream, track in zip(sounds, audio, strict=True):
            for packet in _encode_audio(stream, track, track.seconds or length, start):
                packets.append((_when(packet), packet.stream.index, packet))
        for stream, track in zip(texts, subtitles, strict=True):
            for packet in _subtitle_packets(stream, track, start):
                packets.append((_when(packet), packet.stream.index, packet))
        for stream in datas:
            packet = av.Packet(b"data track payload")
            packet.stream = stream
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = int(start * 1000)
            packets.append((_when(packet), stream.index, packet))
        for _, _, packet in sorted(packets, key=lambda item: item[:2]):
            out.mux(packet)
    return path


def _when(packet: av.Packet) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if stamp is None else stamp * packet.time_base


def _add_video(
    out: Any,
    codec: str,
    rate: Fraction,
    size: tuple[int, int],
    pix_fmt: str,
    time_base: Fraction,
    options: Mapping[str, str],
) -> Any:
    options = dict(options)
    quantiser = options.pop("qscale", None)
    stream = out.add_stream(codec, rate=rate, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt
    stream.codec_context.time_base = time_base
    stream.time_base = time_base
    stream.codec_context.thread_count = 1
    if quantiser:
        stream.codec_context.qmin = int(quantiser)
        stream.codec_context.qmax = int(quantiser)
    return stream


def _encode_video(
    stream: Any,
    first: int,
    size: tuple[int, int],
    times: Sequence[int],
    time_base: Fraction,
    start: Fraction,
    pix_fmt: str,
    matrix: int,
    full: bool,
    scenes: Sequence[int],
    interlaced: str | None,
    combed: bool,
    still: bool,
) -> Iterable[av.Packet]:
    offset = int(start / time_base)
    context = stream.codec_context
    for index, stamp in enumerate(times):
        scene = sum(index >= cut for cut in scenes)
        number = first + (0 if still else index)
        alpha = has_alpha(pix_fmt)
        phase = index * 0.5 if combed else None
        image = render(number, size, scene=scene, alpha=alpha, phase=phase)
        if combed:
            late = render(number, size, scene=scene, alpha=alpha, phase=phase + 0.25)
            second = 1 if interlaced != "bff" else 0
            image[second::2] = late[second::2]
        frame = to_frame(image, pix_fmt, matrix=matrix, full=full)
        frame.pts = stamp + offset
        frame.time_base = time_base
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(frame, name, getattr(context, name))
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _add_audio(out: Any, track: Audio) -> Any:
    stream = out.add_stream(track.codec, rate=track.rate, layout=track.layout)
    _label(stream, track)
    return stream


def _label(stream: Any, track: Audio | Subtitle) -> None:
    if track.language:
        stream.metadata["language"] = track.language
    if track.title:
        stream.metadata["title"] = track.title
    stream.disposition = track.disposition


def _encode_audio(
    stream: Any, track: Audio, seconds: Fraction, start: Fraction
) -> Iterable[av.Packet]:
    context = stream.codec_context
    step = context.frame_size or 1024
    total = max(step, int(seconds * track.rate))
    layout = context.layout
    channels = layout.nb_channels
    offset = int((track.start + start) * track.rate)
    kind = context.format.name
    for begin in range(0, total, step):
        t = np.arange(begin, min(begin + step, total)) / track.rate
        wave = np.stack(
            [0.4 * np.sin(2 * np.pi * (330 + 110 * c) * t) for c in range(channels)]
        )
        dtype = {"s16": "<i2", "s16p": "<i2", "s32": "<i4", "s32p": "<i4"}
        if kind in dtype:
            top = np.iinfo(dtype[kind]).max
            data = (wave * top).astype(dtype[kind])
        else:
            data = wave.astype(np.float32)
        if not kind.endswith("p"):
            data = np.ascontiguousarray(data.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(data), format=kind, layout=track.layout
        )
        frame.rate = track.rate
        frame.pts = begin + offset
        frame.time_base = Fraction(1, track.rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)


ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Sans,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def _add_subtitle(out: Any, track: Subtitle) -> Any:
    if track.codec == "ass":
        # the header (styles) can only be given by way of a template
        with av.open(io.BytesIO(ASS_HEADER), format="ass") as script:
            stream = out.add_stream_from_template(script.streams[0])
    else:
        stream = out.add_mux_stream(track.codec)
    stream.time_base = Fraction(1, 1000)
    _label(stream, track)
    return stream


def _subtitle_packets(
    stream: Any, track: Subtitle, start: Fraction
) -> Iterable[av.Packet]:
    for number, (begin, end, text) in enumerate(track.cues):
        payload = text.encode()
        if track.codec == "mov_text":
            payload = struct.pack(">H", len(payload)) + payload
        elif track.codec == "ass":
            payload = f"{number},0,Default,,0,0,0,,{text}".encode()
        packet = av.Packet(payload)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round((begin + float(start)) * 1000)
        packet.duration = round((end - begin) * 1000)
        packet.is_keyframe = True
        yield packet


def _add_cover(out: Any, codec: str) -> Any:
    stream = out.add_stream(codec, rate=1)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    stream.time_base = Fraction(1, 1000)
    stream.disposition = Disposition.attached_pic
    return stream


def _still_image(codec: str, size: tuple[int, int], number: int = 1000) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = size
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    context.time_base = Fraction(1, 25)
    frame = to_frame(render(number, size), context.pix_fmt, full=True)
    frame.pts = 0
    frame.color_range = 2
    return b"".join(bytes(p) for p in (*context.encode(frame), *context.encode(None)))


def write_images(
    folder: Path,
    *,
    frames: int = 6,
    size: tuple[int, int] = (48, 32),
    name: Callable[[int], str] = lambda i: f"frame_{i:04d}.png",
    pix_fmt: str = "rgb24",
    codec: str = "png",
) -> Path:
    """Write numbered pictures into a folder, made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        context = av.CodecContext.create(codec, "w")
        context.width, context.height = size
        context.pix_fmt = pix_fmt
        context.time_base = Fraction(1, 25)
        image = render(index, size, alpha=has_alpha(pix_fmt))
        frame = to_frame(image, pix_fmt, full=True)
        frame.pts = 0
        if pix_fmt.startswith("yuv"):
            frame.color_range = 2
            context.color_range = 2
        data = b"".join(bytes(p) for p in (*context.encode(frame), *context.encode()))
        (folder / name(index)).write_bytes(data)
    return folder


def y4m_bytes(
    *,
    frames: int = 6,
    size: tuple[int, int] = (48, 32),
    rate: Fraction | int = 25,
    sar: Fraction = Fraction(1),
    chroma: str = "420jpeg",
) -> bytes:
    """A YUV4MPEG2 stream, as ``ffmpeg -f yuv4mpegpipe -`` would write it."""
    pix_fmt = {"420jpeg": "yuv420p", "444": "yuv444p", "mono": "gray"}[chroma]
    rate = Fraction(rate)
    head = (
        f"YUV4MPEG2 W{size[0]} H{size[1]} F{rate.numerator}:{rate.denominator} "
        f"Ip A{sar.numerator}:{sar.denominator} C{chroma}\n"
    )
    parts = [head.encode()]
    for index in range(frames):
        frame = to_frame(render(index, size), pix_fmt)
        parts.append(b"FRAME\n")
        for component in frame.format.components:
            plane = frame.planes[component.plane]
            data = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height]
            rows = data.reshape(plane.height, plane.line_size)[:, : component.width]
            parts.append(rows.tobytes())
    return b"".join(parts)


def raw_bytes(
    *, frames: int = 6, size: tuple[int, int] = (48, 32), pix_fmt: str = "yuv420p"
) -> bytes:
    """Frames with nothing around them, as ``ffmpeg -f rawvideo -`` would write."""
    parts = []
    for index in range(frames):
        frame = to_frame(render(index, size), pix_fmt)
        parts.append(np.ascontiguousarray(frame.to_ndarray()).tobytes())
    return b"".join(parts)


# --------------------------------------------------------------------------- breaking


def truncate(path: Path, target: Path, keep: float) -> Path:
    """Copy the first part of a file."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def corrupt(path: Path, target: Path, *, holes: int = 8, width: int = 24) -> Path:
    """Copy a file with zeroed holes spread over its second half."""
    data = bytearray(path.read_bytes())
    begin = len(data) // 2
    step = (len(data) - begin) // (holes + 1)
    for hole in range(1, holes + 1):
        at = begin + hole * step
        data[at : at + width] = bytes(width)
    target.write_bytes(bytes(data))
    return target


# --------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class FrameInfo:
    """One decoded frame: ``image`` is float RGB(A) by the frame's own tags."""

    number: int
    time: Fraction | None
    image: np.ndarray = field(repr=False)
    pix_fmt: str
    interlaced: bool
    rotation: int
    matrix: int
    range: int
    primaries: int
    transfer: int
    side_data: tuple[tuple[str, str], ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class PacketInfo:
    """One packet: when, for how long, and a hash of what it carries."""

    time: Fraction | None
    duration: Fraction | None
    sha: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class StreamInfo:
    """One stream as the container declares it, with all its packets."""

    index: int
    type: str
    codec: str
    language: str | None
    title: str | None
    disposition: int
    metadata: dict[str, str]
    time_base: Fraction | None
    packets: tuple[PacketInfo, ...] = field(repr=False)

    @property
    def hashes(self) -> tuple[str, ...]:
        """Hashes of the payloads, in order."""
        return tuple(p.sha for p in self.packets)

    @property
    def times(self) -> tuple[Fraction | None, ...]:
        """Presentation times of the packets in seconds."""
        return tuple(p.time for p in self.packets)

    @property
    def cues(self) -> tuple[tuple[Fraction | None, Fraction | None, str], ...]:
        """Subtitles as (time, duration, bare text), whatever their coding."""
        return tuple(
            (p.time, p.duration, cue_text(p.data, self.codec))
            for p in self.packets
            if cue_text(p.data, self.codec)
        )


@dataclass(frozen=True)
class Described:
    """What a file holds: container, the main video's frames, all other streams."""

    path: Path
    format: str
    metadata: dict[str, str]
    chapters: tuple[Chapter, ...]
    attachments: tuple[tuple[str, str | None, str], ...]
    streams: tuple[StreamInfo, ...]
    video: StreamInfo
    codec: str
    size: tuple[int, int]
    sar: Fraction
    pix_fmt: str
    bits: int
    alpha: bool
    rotation: int
    matrix: int
    range: int
    primaries: int
    transfer: int
    average_rate: Fraction | None
    frames: tuple[FrameInfo, ...] = field(repr=False)

    @property
    def numbers(self) -> list[int]:
        """Numbers read from the pixels, in the order shown."""
        return [f.number for f in self.frames]

    @property
    def times(self) -> list[Fraction | None]:
        """Exact presentation times in seconds."""
        return [f.time for f in self.frames]

    @cached_property
    def audio(self) -> tuple[StreamInfo, ...]:
        """Sound tracks."""
        return tuple(s for s in self.streams if s.type == "audio")

    @cached_property
    def subtitles(self) -> tuple[StreamInfo, ...]:
        """Subtitle tracks."""
        return tuple(s for s in self.streams if s.type == "subtitle")

    @cached_property
    def videos(self) -> tuple[StreamInfo, ...]:
        """Video tracks without cover pictures."""
        return tuple(
            s
            for s in self.streams
            if s.type == "video" and not s.disposition & Disposition.attached_pic
        )

    @cached_property
    def covers(self) -> tuple[StreamInfo, ...]:
        """Cover pictures."""
        return tuple(
            s for s in self.streams if s.disposition & Disposition.attached_pic
        )

    @property
    def patches(self) -> np.ndarray:
        """Mean patch colours of every frame, ``(frames, 2, channels)`` in 0..255."""
        return np.stack([patch_means(f.image) for f in self.frames])


def cue_text(data: bytes, codec: str) -> str:
    """The words of one subtitle packet."""
    if codec in ("mov_text", "tx3g"):
        (length,) = struct.unpack(">H", data[:2])
        return data[2 : 2 + length].decode()
    if codec in ("ass", "ssa"):
        return data.decode().split(",", 8)[-1].strip()
    return data.decode(errors="replace").strip()


def describe(
    path: Path | str, *, format: str | None = None, track: int = 0
) -> Described:
    """Demux and decode a whole file, or a folder of pictures.

    Args:
        path: a media file, or a folder of images (read in name order at 25 fps).
        format: demuxer name, where the content cannot tell.
        track: which of the video tracks (covers not counted) to decode.

    Raises:
        ValueError: no such track.
        av.FFmpegError: no media file, or a damaged one.
    """
    path = Path(path)
    if path.is_dir():
        return _describe_folder(path)
    with av.open(str(path), format=format) as source:
        mains = [
            s
            for s in source.streams.video
            if not s.disposition & Disposition.attached_pic
        ]
        if len(mains) <= track:
            raise ValueError(f"no video track {track} in {path}")
        main = mains[track]
        decoder = _decoder(main)
        packets: dict[int, list[PacketInfo]] = {s.index: [] for s in source.streams}
        frames: list[FrameInfo] = []
        for packet in source.demux():
            stream = packet.stream
            if packet.size:
                packets[stream.index].append(_packet_info(packet))
            if stream.index == main.index:
                if decoder is None:
                    decoded = packet.decode()
                elif packet.size:
                    decoded = decoder.decode(packet)
                else:
                    decoded = decoder.decode(None)
                for frame in decoded:
                    base = frame.time_base or main.time_base
                    frames.append(_frame_info(frame, base))
        streams = tuple(_stream_info(s, packets[s.index]) for s in source.streams)
        context = main.codec_context
        first = frames[0] if frames else None
        pix_fmt = first.pix_fmt if first else str(main.pix_fmt)
        chapters = tuple(
            Chapter(
                Fraction(c["start"]) * c["time_base"],
                Fraction(c["end"]) * c["time_base"],
                c["metadata"].get("title", ""),
            )
            for c in source.chapters()
        )
        attachments = tuple(
            (s.name or "", s.mimetype, hashlib.sha256(s.data).hexdigest()[:16])
            for s in source.streams.attachments
        )
        return Described(
            path=path,
            format=source.format.name,
            metadata=dict(source.metadata),
            chapters=chapters,
            attachments=attachments,
            streams=streams,
            video=streams[main.index],
            codec=main.codec.canonical_name,
            size=first.size if first else (main.width, main.height),
            sar=Fraction(main.sample_aspect_ratio or 1),
            pix_fmt=pix_fmt,
            bits=av.VideoFormat(pix_fmt, 16, 16).components[0].bits,
            alpha=has_alpha(pix_fmt),
            rotation=first.rotation if first else 0,
            matrix=int(context.colorspace),
            range=int(context.color_range),
            primaries=int(context.color_primaries),
            transfer=int(context.color_trc),
            average_rate=main.average_rate,
            frames=tuple(frames),
        )


def _decoder(stream: Any) -> Any:
    """A decoder of our own where FFmpeg's native one drops the alpha plane."""
    if stream.codec.canonical_name != "vp9" or not any(
        key.lower() == "alpha_mode" and value == "1"
        for key, value in stream.metadata.items()
    ):
        return None
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _packet_info(packet: av.Packet) -> PacketInfo:
    base = packet.time_base
    data = bytes(packet)
    codec = packet.stream.codec_context.name if packet.stream.codec_context else ""
    if codec == "aac" and len(data) > 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        data = data[7 if data[1] & 1 else 9 :]  # ADTS frames itself, MP4 does not
    return PacketInfo(
        time=None if packet.pts is None else packet.pts * base,
        duration=None if not packet.duration else packet.duration * base,
        sha=hashlib.sha256(data).hexdigest()[:16],
        data=data,
    )


def _stream_info(stream: Any, packets: list[PacketInfo]) -> StreamInfo:
    context = stream.codec_context if stream.type != "attachment" else None
    codec = ""
    if context is not None:
        codec = context.codec.canonical_name if context.codec else context.name
    metadata = {k.lower(): v for k, v in stream.metadata.items()}
    language = metadata.get("language")
    return StreamInfo(
        index=stream.index,
        type=stream.type,
        codec=codec,
        language=None if language == "und" else language,
        title=metadata.get("title") or metadata.get("handler_name"),
        disposition=int(stream.disposition),
        metadata=metadata,
        time_base=stream.time_base,
        packets=tuple(packets),
    )


def _frame_info(frame: av.VideoFrame, base: Fraction) -> FrameInfo:
    image = to_rgb(frame)
    tiny = min(image.shape[:2]) < 8
    return FrameInfo(
        number=-1 if tiny else read_number(image),
        time=None if frame.pts is None else frame.pts * base,
        image=image,
        pix_fmt=frame.format.name,
        interlaced=frame.interlaced_frame,
        rotation=frame.rotation,
        matrix=int(frame.colorspace),
        range=int(frame.color_range),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        side_data=_side_data(frame),
    )


def _side_data(frame: av.VideoFrame) -> tuple[tuple[str, str], ...]:
    try:
        # by kind, because PyAV 18 iterates over items and PyAV 19 over keys
        found = [(kind.name, frame.side_data.get(kind)) for kind in SideDataType]
        return tuple(
            (name, hashlib.sha256(bytes(item)).hexdigest()[:16])
            for name, item in found
            if item is not None
        )
    except ValueError:  # a kind that PyAV does not know (TIFF's EXIF)
        return ()


def _describe_folder(folder: Path) -> Described:
    frames: list[FrameInfo] = []
    last = None
    for index, file in enumerate(sorted(p for p in folder.iterdir() if p.is_file())):
        last = describe(file)
        frames.append(replace(last.frames[0], time=Fraction(index, 25)))
    if last is None:
        raise ValueError(f"no pictures in {folder}")
    return replace(last, path=folder, format="folder", frames=tuple(frames))
