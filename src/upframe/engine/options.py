"""All options of runs, declared once: default, check and description of each.

Command line, `upframe.upscale`, `upframe.Upscaler`, evaluation and bench read these
declarations. To add an option, declare it here, in the class and in the ``TypedDict``
below it, and use it where it acts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypedDict

from upframe.engine.checks import (
    Refused,
    flag,
    frame_rate,
    frame_size,
    integer,
    memory_size,
    number,
    one_of,
    pairs,
    path,
    seconds,
    text,
)
from upframe.engine.declaring import Declared, option
from upframe.errors import UsageError
from upframe.media.codecs import AUDIO, Audio
from upframe.runtimes.devices import cuda_index
from upframe.runtimes.registry import PRECISIONS, RUNTIME_NAMES
from upframe.weights.index import PRESETS

AnyPath = str | os.PathLike[str]


def _model(value: object) -> str:
    try:
        return path(value)
    except Refused:
        raise Refused(
            "is no model", "Give a name, or the path of a weight file."
        ) from None


def device(value: object) -> str:
    """A check: ``auto``, ``cpu`` or ``cuda[:N]``."""
    name = text(value)
    if name != "auto":
        try:
            cuda_index(name)
        except UsageError as error:
            raise Refused("is no device", error.advice) from None
    return name


def _encoder_options(value: object) -> dict[str, str]:
    return pairs(value)


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(Declared):
    """Where and how a model computes."""

    device: str = option("auto", device, "auto, cpu or cuda[:N].")
    runtime: str = option("auto", one_of(RUNTIME_NAMES), f"{', '.join(RUNTIME_NAMES)}.")
    precision: str = option(
        "auto",
        one_of(PRECISIONS),
        "auto (int8 where it loses less than 0.05 dB), fp32, fp16, bf16 or int8.",
    )
    threads: int | None = option(
        None,
        integer(1, 1024),
        "CPU threads of the network. Default: all cores.",
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class MaskOptions(Declared):
    """How much masked models compute."""

    keep_ratio: float | None = option(
        None,
        number(0, 1),
        "Masked models: largest share of a frame to compute, 0 to 1 (everything). "
        "Default: what they were trained for.",
        metavar="R",
    )


@dataclass(frozen=True, kw_only=True)
class _ModelOptions(Declared):
    preset: str = option("balanced", one_of(tuple(PRESETS)), f"{', '.join(PRESETS)}.")
    model: str | None = option(
        None,
        _model,
        "Name of a model, or a weight file or folder, instead of a preset.",
    )
    scale: float | None = option(
        None,
        number(0, 10**6, above=True),
        "Any factor. Default: the model's own.",
        metavar="F",
    )
    size: tuple[int, int] | None = option(
        None,
        frame_size,
        "Exact output size, width x height in pixels; for raw video from a pipe the "
        "input's.",
        metavar="WxH",
    )
    height: int | None = option(
        None,
        integer(1, 999_999),
        "Output height in pixels; the width follows.",
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class StreamOptions(MaskOptions, ComputeOptions, _ModelOptions):
    """Options of `upframe.Upscaler`."""

    seed: int | None = option(
        None,
        integer(0, 2**64 - 1),
        "Diffusion models: seed of the noise. Default: 0.",
        metavar="N",
    )
    memory: int | None = option(
        None,
        memory_size,
        "Memory budget in bytes or as in 2GiB. Default: half of what is free.",
        metavar="SIZE",
    )


@dataclass(frozen=True, kw_only=True)
class Options(StreamOptions):
    """Options of `upframe.upscale` and of ``upframe upscale``."""

    mask_images: str | None = option(
        None,
        path,
        "Masked models: folder for an image of what was computed of each frame.",
        metavar="DIR",
    )
    start: Fraction | None = option(
        None,
        seconds(above=False),
        "Begin here: seconds, or as in 1:30 or 0:01:30.5.",
        metavar="T",
    )
    duration: Fraction | None = option(
        None,
        seconds(above=True),
        "Take this long: seconds, or as in 1:30.",
        metavar="T",
    )
    deinterlace: str = option("auto", one_of(("auto", "on", "off")), "auto, on or off.")
    audio: Audio = option(
        "keep",
        one_of(AUDIO),
        "keep (copied where the container can hold it, else recoded), recode or drop.",
    )
    codec: str | None = option(
        None,
        text,
        "h264, hevc, av1, vp9, ffv1, prores, or the name of an FFmpeg encoder.",
        flags=("--codec", "-c:v"),
    )
    crf: int | None = option(
        None,
        integer(0, 255),
        "Constant quality on the encoder's own scale.",
        metavar="N",
    )
    pix_fmt: str | None = option(None, text, "FFmpeg pixel format of the output.")
    encoder_options: Mapping[str, str] | None = option(
        None,
        _encoder_options,
        "Further options of the encoder; on the command line K=V, repeatable.",
        flags=("-e",),
        metavar="K=V",
        kind="list",
    )
    rate: Fraction | None = option(
        None,
        frame_rate,
        "Frames per second of images and raw video, as in 25 or 30000/1001. "
        "Default: 25.",
        metavar="FPS",
    )
    chunk_frames: int | None = option(
        None,
        integer(1),
        "Largest number of frames that are encoded and resumed as one chunk.",
        metavar="N",
    )
    jobs: int = option(
        1,
        integer(1, 256),
        "Processes that share the chunks of each video, and the threads and memory. "
        "Default: 1.",
        metavar="N",
    )
    overwrite: bool = option(
        False,
        flag,
        "Replace outputs that exist.",
        flags=("--overwrite", "-y"),
        kind="flag",
    )
    fresh: bool = option(
        False, flag, "Ignore an unfinished run instead of resuming it.", kind="flag"
    )


class ComputeKeywords(TypedDict, total=False):
    """What callers may give for `ComputeOptions`."""

    device: str
    runtime: str
    precision: str
    threads: int | str | None


class StreamKeywords(ComputeKeywords, total=False):
    """What callers may give for `StreamOptions`, without preset and model."""

    scale: float | Fraction | str | None
    size: tuple[int, int] | str | None
    height: int | str | None
    keep_ratio: float | str | None
    seed: int | str | None
    memory: int | str | None


class ModelKeywords(TypedDict, total=False):
    """Which model."""

    preset: str
    model: AnyPath | None


class Keywords(StreamKeywords, ModelKeywords, total=False):
    """What callers may give for `Options`."""

    mask_images: AnyPath | None
    start: float | Fraction | str | None
    duration: float | Fraction | str | None
    deinterlace: str
    audio: Audio
    codec: str | None
    crf: int | str | None
    pix_fmt: str | None
    encoder_options: Mapping[str, str | int | float] | Sequence[str] | None
    rate: float | Fraction | str | None
    chunk_frames: int | str | None
    jobs: int | str
    overwrite: bool
    fresh: bool
