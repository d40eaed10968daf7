"""``upframe.upscale``: one file to another."""

from __future__ import annotations

import os
from fractions import Fraction

from upframe.engine.backends.local import run
from upframe.engine.finish import Report
from upframe.engine.options import Options
from upframe.engine.pipeline import ProgressCallback
from upframe.engine.prepare import prepare
from upframe.media.codecs import Audio
from upframe.planning.memory import parse_size


def upscale(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None = None,
    *,
    preset: str = "balanced",
    model: str | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    height: int | None = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    keep_ratio: float | None = None,
    seed: int | None = None,
    memory: int | str | None = None,
    start: float | Fraction | None = None,
    duration: float | Fraction | None = None,
    deinterlace: str = "auto",
    audio: Audio = "keep",
    codec: str | None = None,
    crf: int | None = None,
    pix_fmt: str | None = None,
    encoder_options: dict[str, str] | None = None,
    rate: float | Fraction | None = None,
    chunk_frames: int | None = None,
    mask_images: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    fresh: bool = False,
    progress: ProgressCallback | None = None,
) -> Report:
    """Upscale a video file, or a folder or pattern of pictures.

    Frame count, timestamps, colours, sound, subtitles and the rest of the file are
    kept; the output appears under its name only when it is complete and verified. An
    unfinished run of the same output is continued.

    Args:
        src: video file, folder or pattern of pictures, or ``-`` for standard input.
        dst: output; beside the input when None.
        preset: ``fast``, ``balanced``, ``best`` or ``restore``.
        model: name of a model or a weight file, instead of a preset.
        scale: any factor; the model's own when no size is asked.
        size: exact output (width, height) in pixels.
        height: output height in pixels; the width follows.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        runtime: ``auto``, ``onnx`` or ``torch``.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``; auto takes int8
            on the CPU for models that lose less than 0.05 dB by it.
        threads: threads of the network; all cores when None.
        keep_ratio: how much of a frame masked models compute at most, 0 to 1; what they
            were taught when None.
        seed: of the noise of diffusion models; 0 when None.
        memory: bytes, or text such as ``"2GiB"``; half of what is free when None.
        start: seconds to pass over at the beginning.
        duration: seconds to take.
        deinterlace: ``auto``, ``on`` or ``off``.
        audio: ``keep`` (copied where the container can hold it, else recoded),
            ``recode`` or ``drop``.
        codec: ``h264``, ``hevc``, ``av1``, ``vp9``, ``ffv1``, ``prores``, or the name
            of an FFmpeg encoder.
        crf: constant quality on the encoder's own scale.
        pix_fmt: FFmpeg pixel format of the result.
        encoder_options: further options of the encoder.
        rate: frames per second of pictures and raw video.
        chunk_frames: longest piece that is coded, recorded and resumed as one.
        mask_images: folder for an image of what was computed of each frame; masked
            models only.
        overwrite: replace an output that exists.
        fresh: ignore an unfinished run.
        progress: called in the calling thread as frames are written.

    Returns:
        What was done; ``warnings`` says what could not be kept.

    Raises:
        UpframeError: see ``upframe.errors``; the message says what to do.
    """
    options = Options(
        preset=preset,
        model=model,
        scale=scale,
        size=size,
        height=height,
        device=device,
        runtime=runtime,
        precision=precision,
        threads=threads,
        keep_ratio=keep_ratio,
        seed=seed,
        memory=None if memory is None else parse_size(memory),
        start=_seconds(start),
        duration=_seconds(duration),
        deinterlace=deinterlace,
        audio=audio,
        codec=codec,
        crf=crf,
        pix_fmt=pix_fmt,
        encoder_options=encoder_options or {},
        rate=_seconds(rate),
        chunk_frames=chunk_frames,
        mask_images=None if mask_images is None else os.fspath(mask_images),
        overwrite=overwrite,
        fresh=fresh,
    )
    target = None if dst is None else os.fspath(dst)
    return run(prepare(os.fspath(src), target, options), progress)


def _seconds(value: float | Fraction | None) -> Fraction | None:
    return None if value is None else Fraction(str(value))
