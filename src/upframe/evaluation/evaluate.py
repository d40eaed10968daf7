"""Run a model over test data and score what it returns.

The model runs through the same runtime as in ``upframe upscale``, so the scores are
those of what users get, not of a separate research path.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from upframe.degradations.bicubic import to_uint8
from upframe.engine.models import resolve_model
from upframe.errors import InputError, RuntimeFailure, UsageError
from upframe.evaluation.clips import Clip, Picture, find_clips, missing_clips
from upframe.evaluation.protocols import Protocol, find_protocol
from upframe.evaluation.scoring import ClipScoring, Scoring, choose_metrics, mean
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.make import open_runtime


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, or of one picture."""

    name: str
    frames: int
    """Frames that were scored; that were upscaled, where nothing is scored."""
    scores: Mapping[str, float]
    """Metric to mean over these frames, or over pairs of consecutive ones; NaN where
    no frame has a defined score."""
    per_frame: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric to its scores in order of the frames; metrics of two consecutive frames
    begin with the second."""


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of a model on a test set."""

    protocol: str
    model: str
    settings: str
    """One line with everything that decides the scores."""
    mean: Mapping[str, float]
    """Metric to mean over clips that have a defined score."""
    clips: tuple[ClipScore, ...]
    ms_per_frame: float
    """Wall-clock time of the model alone, without reading and a warm-up, per frame."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """Metric to what exactly it is: method, flow, weights."""

    def to_dict(self) -> dict[str, Any]:
        """As ``upframe evaluate --json`` prints it.

        An infinite PSNR, that of equal pictures, is null, and so is a score that is not
        defined, as that of motion in one frame: JSON knows neither.
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
    metric_weights: Path | str | None = None,
    progress: Callable[[ClipScore], None] | None = None,
) -> EvaluationReport:
    """Score a model.

    Args:
        model: name of a model or preset, or a weight file.
        data: for ``sisr`` a folder of pictures; else a folder with ``gt/<clip>/`` and
            perhaps ``lq/<clip>/``. What is not in ``lq`` is made from ``gt``. For
            ``real`` a folder with ``lq/<clip>/`` or ``<clip>/``.
        protocol: ``sisr``, ``vid4``, ``reds4``, ``vimeo90k`` or ``real``.
        metrics: names of :data:`upframe.evaluation.scoring.METRICS`; None for ``psnr``
            (dB) and ``ssim`` (at most 1). ``real`` has ``niqe`` and ``ewarp``, and for
            None no metric: it tells the time only.
        frames: only the first frames of each clip; None for all.
        device: as for ``upframe upscale``.
        runtime: likewise.
        threads: likewise.
        metric_weights: folder with the weights of ``lpips``, ``tlp``, ``dists`` and
            ``niqe``; None to look where :func:`upframe.metrics.files.find_file` says.
        progress: is called after every clip.

    Returns:
        The scores. Pictures are compared after rounding to 8 bits.

    Raises:
        UsageError: a name does not exist, or does not go with the protocol.
        InputError: the data is missing, empty or does not fit together.
        WeightsError: the model's file is damaged, or weights of a metric are missing.
        MissingExtraError: Pillow, or torch for a weight file or LPIPS, is not
            installed.
        RuntimeFailure: the model fails.
    """
    rules = find_protocol(protocol)
    names = choose_metrics(rules, metrics)
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
    scoring = Scoring(
        names, rules, scale, None if metric_weights is None else Path(metric_weights)
    )
    low, _ = clips[0].read(0, scale)
    _Timed(runner).warm_up(low)
    seconds, count = 0.0, 0
    results = []
    for clip in clips:
        session = _Timed(runner)
        result = _score_clip(clip, session, rules, scoring.clip(), frames)
        seconds, count = seconds + session.seconds, count + session.frames
        results.append(result)
        if progress is not None:
            progress(result)
    settings = rules.describe(scale, made=any(not clip.low for clip in clips))
    if missing := missing_clips(clips, rules):
        settings += f"; of the published set {', '.join(missing)} are missing"
    if frames is not None:
        settings += f"; only the first {frames} frames of each clip"
    for name in names:
        lost = sum(map(math.isnan, (v for r in results for v in r.per_frame[name])))
        if lost:
            settings += f"; {name} is not defined on {lost} frames, which are left out"
    return EvaluationReport(
        protocol=rules.name,
        model=chosen.card.name,
        settings=settings,
        mean={name: mean([r.scores[name] for r in results]) for name in names},
        clips=tuple(results),
        ms_per_frame=1e3 * seconds / count,
        definitions=scoring.definitions,
    )


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
    scoring: ClipScoring,
    frames: int | None,
) -> ClipScore:
    scale = session.scale
    count = min(frames or len(clip), len(clip))
    wanted = {count // 2} if rules.frames == "middle" else set(range(count))
    truths: deque[Picture | None] = deque()
    done = 0

    def take(outputs: list[Picture]) -> None:
        nonlocal done
        for result in outputs:
            truth = truths.popleft()
            if done in wanted:
                try:
                    scoring.push(result, truth)
                except ValueError as error:
                    raise InputError(
                        f"{(clip.high or clip.low)[done]} cannot be scored with "
                        f"{error}.",
                        "Leave it out of the test set, or the metric.",
                    ) from error
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
    return ClipScore(
        clip.name,
        len(wanted),
        {name: mean(values) for name, values in scoring.values.items()},
        {name: tuple(values) for name, values in scoring.values.items()},
    )
