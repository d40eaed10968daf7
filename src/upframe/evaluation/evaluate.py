"""Run a model over test data and score what it returns.

The model runs through the same runtime as in ``upframe upscale``, so the scores are
those of what users get, not of a separate research path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from upframe.datasets.frames import Clip
from upframe.datasets.images import ImageArray
from upframe.degradations.bicubic import to_uint8
from upframe.engine.declaring import documented
from upframe.engine.driver import Driver, Output
from upframe.engine.models import Model, resolve_model
from upframe.errors import InputError, UsageError
from upframe.evaluation.by_frame import curve, describe, lengthened
from upframe.evaluation.clips import find_clips, missing_clips
from upframe.evaluation.metrics import choose_metrics, left_out
from upframe.evaluation.options import EvaluateKeywords, EvaluateOptions
from upframe.evaluation.protocols import Protocol, find_protocol
from upframe.evaluation.scoring import ClipScoring, Scoring, mean
from upframe.evaluation.web import compressed
from upframe.planning.chunks import Chunker, Event
from upframe.planning.lengths import whole_segments
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.registry import open_runtime

_KEPT = 32
"""Ground truths kept for outputs that a model owes."""


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, or of one image."""

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
    by_frame: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric to its mean over the clips at each frame number, where that was wanted;
    NaN where no clip has a score."""

    def to_dict(self) -> dict[str, Any]:
        """As ``upframe evaluate --json`` prints it.

        An infinite PSNR, that of equal images, is null, and so is a score that is not
        defined, as that of motion in one frame: JSON knows neither. ``frames`` is there
        where scores by frame number were wanted.
        """
        content: dict[str, Any] = {
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
        if self.by_frame:
            content["frames"] = {
                k: [_finite(v) for v in values] for k, values in self.by_frame.items()
            }
        return content


@documented(EvaluateOptions, EvaluateKeywords)
def evaluate(
    *,
    model: str | Path | Model,
    progress: Callable[[ClipScore], None] | None = None,
    **options: Unpack[EvaluateKeywords],
) -> EvaluationReport:
    """Score a model.

    Args:
        model: name of a model or preset, or a weight file; or what it is resolved to.
        {options}
        progress: called after every clip.

    Returns:
        The scores. Frames are compared after rounding to 8 bits.

    Raises:
        UsageError: an option is invalid, or does not go with the protocol.
        InputError: the data is missing, empty or does not fit together.
        WeightsError: the model's file is damaged, or weights of a metric are missing.
        MissingExtraError: Pillow, or torch for a weight file or LPIPS, is not
            installed.
        RuntimeFailure: the model fails.
    """
    chosen = EvaluateOptions.from_keywords(options, caller="evaluate")
    return run_evaluation(model, chosen, progress)


def run_evaluation(
    model: str | Path | Model,
    options: EvaluateOptions,
    progress: Callable[[ClipScore], None] | None = None,
) -> EvaluationReport:
    """The same from checked options."""
    rules = find_protocol(options.protocol)
    weights = None if options.metric_weights is None else Path(options.metric_weights)
    names = choose_metrics(rules, options.metrics, weights)
    _check(options, rules)
    whole = find_clips(
        Path(options.data),
        rules,
        low=None if options.low is None else Path(options.low),
        meta=None if options.meta is None else Path(options.meta),
    )
    chosen = model if isinstance(model, Model) else resolve_model("balanced", model)
    runtime = _open(chosen, options)
    runner = _Runner(runtime, options.chunk_frames)
    scoring = Scoring(names, rules, runner.scale, weights, options.phases)
    clips, lengths = _clips(whole, options, rules, runner.scale)
    runner.warm_up(clips[0].read(0, runner.scale)[0])
    results = []
    for clip, count in zip(clips, lengths, strict=True):
        wanted = (count // 2,) if rules.frames == "middle" else range(count)
        result = _score_clip(clip, runner.run(clip, count), wanted, scoring.clip())
        results.append(result)
        if progress is not None:
            progress(result)
    settings = [
        *_data_settings(whole, lengths, rules, runner, options),
        *_metric_settings(rules, options, names, results),
        *_run_settings(options, runtime),
    ]
    return EvaluationReport(
        protocol=rules.name,
        model=chosen.card.name,
        settings="; ".join(settings),
        mean={name: mean([r.scores[name] for r in results]) for name in names},
        clips=tuple(results),
        ms_per_frame=1e3 * runner.seconds / sum(lengths),
        definitions=scoring.definitions,
        by_frame={}
        if options.by_frame is None
        else curve(names, [r.per_frame for r in results], options.by_frame),
    )


def _check(options: EvaluateOptions, rules: Protocol) -> None:
    """Refuse options that do not go with the protocol."""
    if options.frames is not None and rules.frames == "middle":
        raise UsageError(
            f"The protocol {rules.name} scores the middle frame of whole clips, so "
            "their frames cannot be limited.",
            "Leave --frames out.",
        )
    single = rules.layout != "clips" or rules.frames == "middle"
    if options.by_frame is not None and single:
        raise UsageError(
            f"The protocol {rules.name} scores single frames, so they have no score by "
            "frame number.",
            "Use vid4, reds4, web or real.",
        )


def _open(model: Model, options: EvaluateOptions) -> Runtime:
    return open_runtime(
        model.card,
        model.files,
        runtime=options.runtime,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        keep_ratio=options.keep_ratio,
    )


def _clips(
    whole: Sequence[Clip], options: EvaluateOptions, rules: Protocol, scale: int
) -> tuple[tuple[Clip, ...], list[int]]:
    """The clips as the model gets them, and how many frames of each."""
    clips, frames = tuple(whole), options.frames
    if options.by_frame is not None:
        clips = lengthened(clips, options.by_frame, frames)
        frames = options.by_frame
    clips = compressed(clips, rules.crfs, scale, frames)
    return clips, [min(frames or len(clip), len(clip)) for clip in clips]


def _data_settings(
    clips: Sequence[Clip],
    lengths: Sequence[int],
    rules: Protocol,
    runner: _Runner,
    options: EvaluateOptions,
) -> list[str]:
    """What was upscaled, a phrase each."""
    settings = [
        rules.describe(runner.scale, made=any(clip.low is None for clip in clips)),
        f"{len(lengths)} {rules.layout}, {sum(lengths)} frames through the model",
    ]
    if options.by_frame is not None:
        settings.append(describe(clips, options.by_frame, options.frames))
    if missing := missing_clips(clips, rules):
        settings.append(f"of the published set {', '.join(missing)} are missing")
    if runner.context and max(lengths) > runner.length:
        settings.append(
            f"in chunks of {runner.length} frames that see {runner.context} more on "
            "each side"
        )
    return settings


def _run_settings(options: EvaluateOptions, runtime: Runtime) -> list[str]:
    """How the model ran, a phrase each."""
    settings = []
    if options.frames is not None:
        settings.append(f"only the first {options.frames} frames of each clip")
    if options.keep_ratio is not None:
        settings.append(f"keep ratio {options.keep_ratio:g}")
    if runtime.precision != "fp32":
        settings.append(f"in {runtime.precision}")
    settings += [str(one).rstrip(".") for one in runtime.fallbacks]
    return settings


def _metric_settings(
    rules: Protocol,
    options: EvaluateOptions,
    names: Sequence[str],
    results: Sequence[ClipScore],
) -> list[str]:
    """What could not be scored, a phrase each."""
    settings = []
    if absent := left_out(rules, options.metrics, names):
        settings.append(
            f"without {', '.join(absent)}, whose weights or torch are not there"
        )
    for name in names:
        lost = sum(map(math.isnan, (v for r in results for v in r.per_frame[name])))
        if lost:
            settings.append(
                f"{name} is not defined on {lost} frames, which are left out"
            )
    return settings


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


class _Runner:
    """A model that upscales the frames of clips and knows how long it took."""

    def __init__(self, runtime: Runtime, chunk_frames: int) -> None:
        self._runtime = runtime
        self.scale = runtime.card.scale
        self.context = runtime.card.context
        self.length = whole_segments(runtime.card, chunk_frames)
        """Most core frames in a chunk."""
        self.seconds = 0.0
        """Wall-clock time inside the model."""

    def warm_up(self, low: ImageArray) -> None:
        """Run two frames and forget them: the first run of a model prepares the others,
        and one frame has no motion."""
        session = self._runtime.session()
        for _ in range(2):
            session.push(_to_float(low))
        session.flush()

    def run(
        self, clip: Clip, count: int
    ) -> Iterator[tuple[int, ImageArray, ImageArray | None]]:
        """Number, result and ground truth of the first ``count`` frames, in order.

        A model may keep back all frames of a chunk; their ground truth is then read
        again rather than kept.
        """
        driver = self._driver(clip.name)
        truths: dict[int, ImageArray | None] = {}

        def events() -> Iterator[Event[ImageArray]]:
            chunker: Chunker[ImageArray] = Chunker(self.length, self.context)
            for number in range(count):
                low, truth = clip.read(number, self.scale)
                if len(truths) < _KEPT:
                    truths[number] = truth
                yield from chunker.push(low, cut=False)
            yield from chunker.finish()

        for output in driver.run(events()):
            if isinstance(output, Output):
                truth = truths.pop(output.number, None)
                if truth is None and clip.high is not None:
                    truth = clip.truth(output.number, self.scale)
                yield output.number, to_uint8(output.pixels), truth
        self.seconds += driver.seconds

    def _driver(self, source: str) -> Driver[ImageArray]:
        card = self._runtime.card
        return Driver(
            self._runtime.session, _to_float, lookahead=card.lookahead, source=source
        )


def _to_float(low: ImageArray) -> FloatFrame:
    return np.ascontiguousarray(low, dtype=np.float32) / np.float32(255)


def _score_clip(
    clip: Clip,
    outputs: Iterable[tuple[int, ImageArray, ImageArray | None]],
    wanted: Container[int],
    scoring: ClipScoring,
) -> ClipScore:
    count = 0
    with closing(scoring):
        for number, result, truth in outputs:
            if number not in wanted:
                continue
            count += 1
            try:
                scoring.push(result, truth)
            except ValueError as error:
                raise InputError(
                    f"{clip.where(number)} cannot be scored with {error}.",
                    "Leave it out of the test set, or the metric.",
                ) from error
        scoring.finish()
    return ClipScore(
        clip.name,
        count,
        {name: mean(values) for name, values in scoring.values.items()},
        {name: tuple(values) for name, values in scoring.values.items()},
    )
