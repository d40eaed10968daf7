"""Run a model over test data and score what it returns.

The model runs through the same runtime as in ``upframe upscale``, so the scores are
those of what users get, not of a separate research path.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.pictures import list_pictures, read_picture
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.engine.models import resolve_model
from upframe.errors import InputError, RuntimeFailure, UsageError
from upframe.evaluation.protocols import Protocol, find_protocol
from upframe.metrics import psnr, ssim
from upframe.runtimes.base import Runtime
from upframe.runtimes.make import open_runtime

Picture = NDArray[np.uint8]

METRICS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {"psnr": psnr, "ssim": ssim}
)
"""Metrics by name; each takes result, reference, ``channel`` and ``crop``."""


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, or of one picture."""

    name: str
    frames: int
    """Frames that were scored."""
    scores: Mapping[str, float]
    """Metric to mean over these frames."""


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of a model on a test set."""

    protocol: str
    model: str
    settings: str
    """One sentence with everything that decides the scores."""
    mean: Mapping[str, float]
    """Metric to mean over clips."""
    clips: tuple[ClipScore, ...]
    ms_per_frame: float
    """Wall-clock time of the model alone, per frame, in milliseconds."""

    def to_dict(self) -> dict[str, Any]:
        """As ``upframe evaluate --json`` prints it."""
        return {
            "protocol": self.protocol,
            "model": self.model,
            "settings": self.settings,
            "mean": {k: _finite(v) for k, v in self.mean.items()},
            "clips": {
                clip.name: {
                    **{k: _finite(v) for k, v in clip.scores.items()},
                    "frames": clip.frames,
                }
                for clip in self.clips
            },
            "ms_per_frame": round(self.ms_per_frame, 3),
        }


@dataclass(frozen=True)
class _Clip:
    """Where the frames of a clip are."""

    name: str
    high: tuple[Path, ...]
    low: tuple[Path, ...] | None


def evaluate(
    *,
    model: str,
    data: Path,
    protocol: str,
    metrics: Sequence[str] = ("psnr", "ssim"),
    frames: int | None = None,
    device: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
    progress: Callable[[ClipScore], None] | None = None,
) -> EvaluationReport:
    """Score a model.

    Args:
        model: name of a model or preset, or a weight file.
        data: for ``sisr`` a folder of pictures; else a folder with ``gt/<clip>/`` and
            perhaps ``lq/<clip>/``. What is not in ``lq`` is made from ``gt``.
        protocol: ``sisr``, ``vid4``, ``reds4`` or ``vimeo90k``.
        metrics: of ``psnr`` (dB) and ``ssim`` (at most 1).
        frames: only the first frames of each clip; None for all.
        device: as for ``upframe upscale``.
        runtime: likewise.
        threads: likewise.
        progress: is called after every clip.

    Returns:
        The scores. Pictures are compared after rounding to 8 bits.

    Raises:
        UsageError: if a name does not exist.
        InputError: if the data is missing, empty or does not fit together.
        WeightsError: if the model's file is damaged.
        MissingExtraError: if Pillow, or torch for a weight file, is not installed.
        RuntimeFailure: if the model fails.
    """
    rules = find_protocol(protocol)
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UsageError(
            f"There is no metric {', '.join(map(repr, unknown)) or 'named'}.",
            f"Use some of: {', '.join(METRICS)}.",
        )
    if frames is not None and frames < 1:
        raise UsageError(f"frames must be at least 1, got {frames}.")
    clips = _find_clips(data, rules)
    chosen = resolve_model("balanced", model)
    runner = open_runtime(
        chosen.card, chosen.files, runtime=runtime, device=device, threads=threads
    )
    scale = chosen.card.scale
    clock = _Clock()
    results = []
    for clip in clips:
        result = _score_clip(clip, runner, rules, metrics, frames, clock)
        results.append(result)
        if progress is not None:
            progress(result)
    mean = {m: float(np.mean([r.scores[m] for r in results])) for m in metrics}
    return EvaluationReport(
        protocol=rules.name,
        model=chosen.card.name,
        settings=rules.describe(scale),
        mean=mean,
        clips=tuple(results),
        ms_per_frame=1e3 * clock.seconds / max(1, clock.frames),
    )


class _Clock:
    """Time spent in the model."""

    seconds = 0.0
    frames = 0


def _finite(value: float) -> float | None:
    """Equal pictures have infinite PSNR, which JSON cannot hold."""
    return round(value, 6) if math.isfinite(value) else None


def _find_clips(data: Path, rules: Protocol) -> list[_Clip]:
    if rules.single:
        return [_Clip(file.stem, (file,), None) for file in list_pictures(data)]
    truth = data / "gt"
    if not truth.is_dir():
        raise InputError(
            f"{data} has no folder gt.", "Put the clips in DIR/gt/<clip>/*.png."
        )
    names = rules.clips or sorted(p.name for p in truth.iterdir() if p.is_dir())
    if not names:
        raise InputError(f"{truth} holds no clips.", "Put them in DIR/gt/<clip>/*.png.")
    clips = []
    for name in names:
        high = list_pictures(truth / name)
        low = None
        if (data / "lq" / name).is_dir():
            low = list_pictures(data / "lq" / name)
            if len(low) != len(high):
                raise InputError(
                    f"Clip {name} has {len(high)} frames in gt and {len(low)} in lq.",
                    "Both must hold the same frames.",
                )
        clips.append(_Clip(name, tuple(high), None if low is None else tuple(low)))
    return clips


def _read(clip: _Clip, number: int, scale: int) -> tuple[Picture, Picture]:
    """Low- and high-resolution frame."""
    high = crop_to_multiple(read_picture(clip.high[number]), scale)
    if clip.low is None:
        if 0 in high.shape:
            raise InputError(f"{clip.high[number]} is smaller than the scale {scale}.")
        return bicubic_down(high, scale), high
    low = read_picture(clip.low[number])
    if low.shape[0] * scale != high.shape[0] or low.shape[1] * scale != high.shape[1]:
        raise InputError(
            f"{clip.low[number]} is {low.shape[1]}x{low.shape[0]}, its gt "
            f"{high.shape[1]}x{high.shape[0]}: not the model's scale {scale}.",
            "Use data of this scale, or leave lq away.",
        )
    return low, high


def _score_clip(
    clip: _Clip,
    runner: Runtime,
    rules: Protocol,
    metrics: Sequence[str],
    frames: int | None,
    clock: _Clock,
) -> ClipScore:
    scale = runner.card.scale
    count = min(frames or len(clip.high), len(clip.high))
    scored = [count // 2] if rules.middle else list(range(count))
    values: dict[str, list[float]] = {name: [] for name in metrics}
    waiting: list[Picture] = []

    def lows() -> Iterator[Picture]:
        for number in range(count):
            low, high = _read(clip, number, scale)
            waiting.append(high)
            yield low

    number = 0
    for number, result in enumerate(_upscale(runner, lows(), clock), 1):
        high = waiting.pop(0)
        if number - 1 not in scored:
            continue
        for name in metrics:
            score = METRICS[name]
            try:
                value = score(
                    result, high, channel=rules.channel, crop=rules.crop(scale)
                )
            except ValueError as error:
                raise InputError(
                    f"{clip.high[number - 1]} cannot be scored with {name}: {error}."
                ) from error
            values[name].append(value)
    if number != count:
        raise RuntimeFailure(f"{runner.card.name} made {number} of {count} frames.")
    means = {name: float(np.mean(list_)) for name, list_ in values.items()}
    return ClipScore(clip.name, len(scored), means)


def _upscale(
    runner: Runtime, lows: Iterator[Picture], clock: _Clock
) -> Iterator[Picture]:
    session = runner.session()
    for low in lows:
        frame = np.ascontiguousarray(low, dtype=np.float32) / np.float32(255)
        begin = time.perf_counter()
        outputs = session.push(frame)
        clock.seconds += time.perf_counter() - begin
        clock.frames += 1
        yield from (to_uint8(out) for out in outputs)
    begin = time.perf_counter()
    outputs = session.flush()
    clock.seconds += time.perf_counter() - begin
    yield from (to_uint8(out) for out in outputs)
