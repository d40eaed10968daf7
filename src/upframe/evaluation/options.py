"""Options of evaluation, bench and calibration, declared once like those of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from upframe.engine.checks import (
    Refused,
    flag,
    frame_size,
    integer,
    names,
    number,
    path,
    several,
    text,
)
from upframe.engine.declaring import Declared, option
from upframe.engine.options import (
    AnyPath,
    ComputeKeywords,
    ComputeOptions,
    MaskOptions,
    device,
)
from upframe.errors import UsageError
from upframe.evaluation.metrics import METRICS
from upframe.evaluation.protocols import PROTOCOLS, find_protocol
from upframe.planning.lengths import DEFAULT_CHUNK_LENGTH


def _protocol(value: object) -> str:
    try:
        return find_protocol(value if isinstance(value, str) else repr(value)).name
    except UsageError as error:
        raise Refused("is no protocol", error.advice) from None


@dataclass(frozen=True, kw_only=True)
class _TestSet(Declared):
    data: str = option(
        ...,
        path,
        "Folder with gt/<clip>/*.png and perhaps lq/<clip>/*.png, or REDS, Vimeo-90K, "
        "Vid4 or an LMDB as BasicSR has them; for sisr with *.png; for real with "
        "<clip>/*.png, or a video. What is not in lq is made from gt.",
        metavar="PATH",
    )
    protocol: str = option(..., _protocol, f"One of {', '.join(PROTOCOLS)}.")
    metrics: tuple[str, ...] | None = option(
        None,
        names,
        f"Some of {','.join(METRICS)}. Default: those of the protocol's published "
        "tables.",
        metavar="NAMES",
    )
    low: str | None = option(
        None,
        path,
        "Folder or LMDB of the low-resolution side, if it is not in the data.",
        flags=("--lq",),
        metavar="PATH",
    )
    meta: str | None = option(
        None,
        path,
        "File that names the clips that count, as meta_info_*.txt of BasicSR.",
        metavar="FILE",
    )
    frames: int | None = option(
        None,
        integer(1),
        "Only the first frames of each clip. Default: all.",
        metavar="N",
    )
    by_frame: int | None = option(
        None,
        integer(1),
        "Score by frame number, 1 to N; shorter clips run forwards and backwards. "
        "Default: each clip as it is.",
        metavar="N",
    )
    chunk_frames: int = option(
        DEFAULT_CHUNK_LENGTH,
        integer(1),
        "Longer clips go through temporal models in chunks of this length, with the "
        "context that the model needs.",
        metavar="N",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(MaskOptions, ComputeOptions, _TestSet):
    """Options of `upframe.evaluation.evaluate.evaluate`."""

    metric_weights: str | None = option(
        None,
        path,
        "Folder with the weights of lpips, tlp, dists and niqe. Default: where they "
        "are installed.",
        metavar="DIR",
    )
    phases: int | None = option(
        None,
        integer(1, 4),
        "Average lpips and dists over so many crops, 1 to 4, that differ by some "
        "pixels, so that no pattern can hide from their strides. Default: the "
        "protocol's.",
        metavar="N",
    )


class EvaluateKeywords(ComputeKeywords, total=False):
    """What callers may give for `EvaluateOptions`."""

    data: AnyPath
    protocol: str
    metrics: Sequence[str] | str | None
    low: AnyPath | None
    meta: AnyPath | None
    frames: int | str | None
    by_frame: int | str | None
    chunk_frames: int | str
    keep_ratio: float | str | None
    metric_weights: AnyPath | None
    phases: int | str | None


@dataclass(frozen=True, kw_only=True)
class BenchOptions(ComputeOptions):
    """Options of `upframe.evaluation.bench.bench`."""

    size: tuple[int, int] = option(
        (180, 144), frame_size, "Size of the input in pixels.", metavar="WxH"
    )
    frames: int = option(10, integer(1, 100_000), "Frames in each round.", metavar="N")
    rounds: int = option(
        5, integer(1, 1000), "Rounds; their median counts.", metavar="N"
    )
    keep_ratio: tuple[float, ...] | None = option(
        None,
        several(number(0, 1)),
        "Masked models: largest share of a frame to compute, 0 to 1; several are "
        "measured one by one. Default: what they were trained for.",
        metavar="R",
        kind="list",
    )


class BenchKeywords(ComputeKeywords, total=False):
    """What callers may give for `BenchOptions`."""

    size: tuple[int, int] | str
    frames: int | str
    rounds: int | str
    keep_ratio: float | Sequence[float] | None


def _window(value: object) -> tuple[int, ...]:
    sides = value.split("x") if isinstance(value, str) else value
    if not isinstance(sides, Sequence) or len(sides) != 3:
        raise Refused("is no window", "Give it as TxHxW, such as 3x9x9.")
    checked = tuple(integer(1, 9999)(side) for side in sides)
    if any(side % 2 == 0 for side in checked):
        raise Refused("has no centre", "Give odd numbers, such as 3x9x9.")
    return checked


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(Declared):
    """Options of `upframe.evaluation.calibration.calibrate`."""

    window: tuple[int, ...] = option(
        (3, 9, 9),
        _window,
        "Tokens of a window, frames x height x width, odd.",
        metavar="TxHxW",
    )
    threshold: float | None = option(
        None,
        number(0, 1000),
        "Largest KL divergence, in nats, of a head that becomes local. Default: 0.25, "
        "which is 78% of its attention.",
        metavar="F",
    )
    local_share: float | None = option(
        None,
        number(0, 1),
        "Share of heads that become local, instead of a threshold.",
        metavar="R",
    )
    frames: int = option(33, integer(1), "The first of each clip.", metavar="N")
    patch: int | None = option(
        None,
        integer(1),
        "Side in pixels of the square in the middle of the frames that is measured; "
        "for models that were trained on patches, whose attention spreads thin over "
        "more tokens. Default: whole frames.",
        metavar="N",
    )
    queries: int = option(
        1024, integer(1), "Tokens measured in each clip and layer.", metavar="N"
    )
    device: str = option("cpu", device, "cpu or cuda[:N].")
    threads: int | None = option(
        None, integer(1, 1024), "CPU threads. Default: all cores.", metavar="N"
    )
    commit: str | None = option(None, text, "Commit of a hub id.")
    offline: bool = option(False, flag, "Use no network.", kind="flag")


class CalibrateKeywords(TypedDict, total=False):
    """What callers may give for `CalibrateOptions`."""

    window: Sequence[int] | str
    threshold: float | str | None
    local_share: float | str | None
    frames: int | str
    patch: int | str | None
    queries: int | str
    device: str
    threads: int | str | None
    commit: str | None
    offline: bool
