"""Run a model over test data and score what it returns.

The model runs through the same runtime as in ``upframe upscale``, so the scores are
those of what users get, not of a separate research path.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from upframe.degradations.bicubic import to_uint8
from upframe.engine.models import resolve_model
from upframe.errors import InputError, RuntimeFailure, UsageError
from upframe.evaluation.clips import Clip, Picture, find_clips, missing_clips
from upframe.evaluation.protocols import Protocol, find_protocol
from upframe.metrics import psnr, ssim
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.make import open_runtime

METRICS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {"psnr": psnr, "ssim": ssim}
)
"""Metrics by name; each takes result, reference, ``channel`` and ``crop``."""


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, or of one picture."""

    name: str
    frames: int
    """Frames that were scored; that were upscaled, where nothing is scored."""
    scores: Mapping[str, float]
    """Metric to mean over these frames."""


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of a model on a test set."""

    protocol: str
    model: str
    settings: str
    """One line with everything that decides the scores."""
    mean: Mapping[str, float]
    """Metric to mean over clips."""
    clips: tuple[ClipScore, ...]
    ms_per_frame: float
    """Wall-clock time of the model alone, without reading and a warm-up, per frame."""

    def to_dict(self) -> dict[str, Any]:
        """As ``upframe evaluate --json`` prints it.

        An infinite PSNR, that of equal pictures, is null: JSON has no infinity.
        """
        return {
            "protocol": self.protocol,
            "model": self.model,
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


def evaluate(
    *,
    model: str,
    data: Path | str,
    protocol: str,
    metrics: Sequence[str] | None = None,
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
            perhaps ``lq/<clip>/``. What is not in ``lq`` is made from ``gt``. For
            ``real`` a folder with ``lq/<clip>/`` or ``<clip>/``.
        protocol: ``sisr``, ``vid4``, ``reds4``, ``vimeo90k`` or ``real``.
        metrics: of ``psnr`` (dB) and ``ssim`` (at most 1); None for all that the
            protocol allows, which for ``real`` are none: it tells the time only.
        frames: only the first frames of each clip; None for all.
        device: as for ``upframe upscale``.
        runtime: likewise.
        threads: likewise.
        progress: is called after every clip.

    Returns:
        The scores. Pictures are compared after rounding to 8 bits.

    Raises:
        UsageError: a name does not exist, or does not go with the protocol.
        InputError: the data is missing, empty or does not fit together.
        WeightsError: the model's file is damaged.
        MissingExtraError: Pillow, or torch for a weight file, is not installed.
        RuntimeFailure: the model fails.
    """
    rules = find_protocol(protocol)
    names = _check_metrics(rules, metrics)
    if frames is not None and frames < 1:
        raise UsageError(f"frames must be at least 1, got {frames}.", "Use 1 or more.")
    if frames is not None and rules.frames == "middle":
        raise UsageError(
            f"The protocol {rules.name} scores the middle frame of whole clips, so "
            "their frames cannot be limited.",
            "Leave --frames away.",
        )
    clips = find_clips(Path(data), rules)
    chosen = resolve_model("balanced", model)
    runner = open_runtime(
        chosen.card, chosen.files, runtime=runtime, device=device, threads=threads
    )
    scale = chosen.card.scale
    low, _ = clips[0].read(0, scale)
    _Timed(runner).warm_up(low)
    seconds, count = 0.0, 0
    results = []
    for clip in clips:
        session = _Timed(runner)
        result = _score_clip(clip, session, rules, names, frames)
        seconds, count = seconds + session.seconds, count + session.frames
        results.append(result)
        if progress is not None:
            progress(result)
    settings = rules.describe(scale, made=any(not clip.low for clip in clips))
    if missing := missing_clips(clips, rules):
        settings += f"; of the published set {', '.join(missing)} are missing"
    if frames is not None:
        settings += f"; only the first {frames} frames of each clip"
    return EvaluationReport(
        protocol=rules.name,
        model=chosen.card.name,
        settings=settings,
        mean={m: float(np.mean([r.scores[m] for r in results])) for m in names},
        clips=tuple(results),
        ms_per_frame=1e3 * seconds / count,
    )


def _check_metrics(rules: Protocol, metrics: Sequence[str] | None) -> tuple[str, ...]:
    if metrics is None:
        return tuple(METRICS) if rules.has_truth else ()
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UsageError(
            f"There is no metric {', '.join(map(repr, unknown)) or 'named'} in this "
            "version.",
            f"There are: {', '.join(METRICS)}.",
        )
    if not rules.has_truth:
        raise UsageError(
            f"The protocol {rules.name} has no ground truth for "
            f"{' and '.join(dict.fromkeys(metrics))}; of metrics that need none, this "
            f"version has none. It has: {', '.join(METRICS)}.",
            "Leave --metrics away to run and time the model, or use another protocol.",
        )
    return tuple(dict.fromkeys(metrics))


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


class _Timed:
    """A session on 8-bit frames that knows how long the model took."""

    def __init__(self, runner: Runtime) -> None:
        self._session = runner.session()
        self.scale = runner.card.scale
        self.frames = 0
        """Frames that were given."""
        self.seconds = 0.0
        """Time inside the model."""

    def push(self, low: Picture) -> list[Picture]:
        """Give (h, w, 3), get what is ready, (s*h, s*w, 3)."""
        frame = np.ascontiguousarray(low, dtype=np.float32) / np.float32(255)
        self.frames += 1
        return self._timed(lambda: self._session.push(frame))

    def flush(self) -> list[Picture]:
        """Get the rest."""
        return self._timed(self._session.flush)

    def warm_up(self, low: Picture) -> None:
        """Run one frame and forget it: the first run of a model prepares the others."""
        self.push(low)
        self.flush()

    def _timed(self, call: Callable[[], list[FloatFrame]]) -> list[Picture]:
        begin = time.perf_counter()
        outputs = call()
        self.seconds += time.perf_counter() - begin
        return [to_uint8(output) for output in outputs]


def _score_clip(
    clip: Clip,
    session: _Timed,
    rules: Protocol,
    metrics: Sequence[str],
    frames: int | None,
) -> ClipScore:
    scale = session.scale
    count = min(frames or len(clip), len(clip))
    wanted = {count // 2} if rules.frames == "middle" else set(range(count))
    values: dict[str, list[float]] = {name: [] for name in metrics}
    truths: deque[Picture | None] = deque()
    done = 0

    def take(outputs: list[Picture]) -> None:
        nonlocal done
        for result in outputs:
            truth = truths.popleft()
            if truth is not None and done in wanted:
                for name in metrics:
                    values[name].append(
                        _score(name, result, truth, rules, scale, clip.high[done])
                    )
            done += 1

    for number in range(count):
        low, truth = clip.read(number, scale)
        truths.append(truth)
        take(session.push(low))
    take(session.flush())
    if done != count:
        raise RuntimeFailure(
            f"The model made {done} of {count} frames of {clip.name}.",
            "Report this with the name of the model.",
        )
    means = {name: float(np.mean(scores)) for name, scores in values.items()}
    return ClipScore(clip.name, len(wanted), means)


def _score(
    name: str,
    result: Picture,
    truth: Picture,
    rules: Protocol,
    scale: int,
    path: Path,
) -> float:
    try:
        return METRICS[name](
            result, truth, channel=rules.channel, crop=rules.border(scale)
        )
    except ValueError as error:
        raise InputError(
            f"{path} cannot be scored with {name}: {error}.",
            "Leave it out of the test set.",
        ) from error
