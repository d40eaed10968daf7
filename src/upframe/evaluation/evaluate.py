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
from typing import Any

import numpy as np

from upframe.datasets.frames import Clip
from upframe.datasets.pictures import Picture
from upframe.degradations.bicubic import to_uint8
from upframe.engine.driver import Driver, Output
from upframe.engine.models import Model, resolve_model, whole_segments
from upframe.errors import InputError, UsageError
from upframe.evaluation.by_frame import curve, describe, lengthened
from upframe.evaluation.clips import find_clips, missing_clips
from upframe.evaluation.metrics import choose_metrics, left_out
from upframe.evaluation.protocols import Protocol, find_protocol
from upframe.evaluation.scoring import ClipScoring, Scoring, mean
from upframe.evaluation.web import compressed
from upframe.planning.chunks import Chunker, Event
from upframe.planning.plan import DEFAULT_CHUNK_LENGTH
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.make import choose_precision, open_runtime

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


def evaluate(
    *,
    model: str | Model,
    data: Path | str,
    protocol: str,
    metrics: Sequence[str] | None = None,
    frames: int | None = None,
    by_frame: int | None = None,
    device: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
    metric_weights: Path | str | None = None,
    phases: int | None = None,
    low: Path | str | None = None,
    meta: Path | str | None = None,
    chunk_frames: int = DEFAULT_CHUNK_LENGTH,
    keep_ratio: float | None = None,
    precision: str = "auto",
    progress: Callable[[ClipScore], None] | None = None,
) -> EvaluationReport:
    """Score a model.

    Args:
        model: name of a model or preset, or a weight file; or what it is resolved to.
        data: for ``sisr`` a folder of images; else a folder with ``gt/<clip>/`` and
            perhaps ``lq/<clip>/``, or REDS, Vimeo-90K, Vid4 or an LMDB as BasicSR has
            them. What is not in ``lq`` is made from ``gt``. For ``real`` a folder with
            ``lq/<clip>/`` or ``<clip>/``, or a video.
        protocol: ``sisr``, ``vid4``, ``reds4``, ``vimeo90k``, ``real`` or ``web``.
        metrics: names of :data:`upframe.evaluation.metrics.METRICS`; None for ``psnr``
            (dB) and ``ssim`` (at most 1). For ``web`` None means those of ``psnr``,
            ``lpips``, ``dists``, ``checkerboard`` and ``false_texture`` whose weights
            are there; for ``real`` it means none: only the time is reported.
        frames: only the first frames of each clip; None for all.
        by_frame: score by frame number, 1 to this; shorter clips run forwards and
            backwards over their frames. None for each clip as it is.
        device: as for ``upframe upscale``.
        runtime: likewise.
        threads: likewise.
        metric_weights: folder with the weights of ``lpips``, ``tlp``, ``dists`` and
            ``niqe``; None to look where :func:`upframe.metrics.files.find_file` says.
        phases: over how many crops, 1 to 4, ``lpips`` and ``dists`` are averaged, so
            that no pattern can hide from their strides; None for the protocol's.
        low: folder or LMDB of the low-resolution side, where ``data`` lacks it.
        meta: file that names the clips that count, as ``meta_info_*.txt`` of BasicSR.
        chunk_frames: longer clips go through models that look at several frames in
            chunks of this length, with the context that the model's card names, so that
            memory stays bounded.
        keep_ratio: how much of a frame masked models compute at most, 0 to 1; None for
            what they were taught.
        precision: as for ``upframe upscale``.
        progress: is called with the scores of every clip.

    Returns:
        The scores. Frames are compared after rounding to 8 bits.

    Raises:
        UsageError: a name does not exist, or does not go with the protocol.
        InputError: the data is missing, empty or does not fit together.
        WeightsError: the model's file is damaged, or weights of a metric are missing.
        MissingExtraError: Pillow, or torch for a weight file or LPIPS, is not
            installed.
        RuntimeFailure: the model fails.
    """
    rules = find_protocol(protocol)
    weights = None if metric_weights is None else Path(metric_weights)
    names = choose_metrics(rules, metrics, weights)
    _check_lengths(rules, frames, by_frame, chunk_frames)
    clips = find_clips(
        Path(data),
        rules,
        low=None if low is None else Path(low),
        meta=None if meta is None else Path(meta),
    )
    chosen = model if isinstance(model, Model) else resolve_model("balanced", model)
    precision = choose_precision(
        chosen.card, chosen.files, runtime=runtime, device=device, precision=precision
    )
    opened = open_runtime(
        chosen.card,
        chosen.files,
        runtime=runtime,
        device=device,
        threads=threads,
        keep_ratio=keep_ratio,
        precision=precision,
    )
    runner = _Runner(opened, chunk_frames)
    scoring = Scoring(names, rules, runner.scale, weights, phases)
    prepared = _prepare(clips, rules, runner.scale, frames, by_frame)
    runner.warm_up(prepared.clips[0].read(0, runner.scale)[0])
    results = []
    for clip, count in zip(prepared.clips, prepared.lengths, strict=True):
        wanted = (count // 2,) if rules.frames == "middle" else range(count)
        result = _score_clip(clip, runner.run(clip, count), wanted, scoring.clip())
        results.append(result)
        if progress is not None:
            progress(result)
    total = sum(prepared.lengths)
    settings = [*prepared.settings]
    if absent := left_out(rules, metrics, names):
        settings.append(
            f"without {', '.join(absent)}, whose weights or torch are not there"
        )
    if runner.context and max(prepared.lengths) > runner.length:
        settings.append(
            f"in chunks of {runner.length} frames that see {runner.context} more on "
            "each side"
        )
    settings += _run_settings(frames, keep_ratio, precision)
    settings += _undefined(names, results)
    return EvaluationReport(
        protocol=rules.name,
        model=chosen.card.name,
        settings="; ".join(settings),
        mean={name: mean([r.scores[name] for r in results]) for name in names},
        clips=tuple(results),
        ms_per_frame=1e3 * runner.seconds / total,
        definitions=scoring.definitions,
        by_frame={}
        if by_frame is None
        else curve(names, [r.per_frame for r in results], by_frame),
    )


def _check_lengths(
    rules: Protocol, frames: int | None, by_frame: int | None, chunk_frames: int
) -> None:
    """Raise UsageError for numbers of frames that the protocol cannot have."""
    for name, value in (
        ("frames", frames),
        ("by_frame", by_frame),
        ("chunk_frames", chunk_frames),
    ):
        if value is not None and value < 1:
            raise UsageError(
                f"{name} must be at least 1, got {value}.", "Use 1 or more."
            )
    if frames is not None and rules.frames == "middle":
        raise UsageError(
            f"The protocol {rules.name} scores the middle frame of whole clips, so "
            "their frames cannot be limited.",
            "Leave --frames away.",
        )
    if by_frame is not None and (rules.layout != "clips" or rules.frames == "middle"):
        raise UsageError(
            f"The protocol {rules.name} scores single frames, so they have no score by "
            "frame number.",
            "Use vid4, reds4, web or real.",
        )


@dataclass(frozen=True)
class _Prepared:
    """The clips as they run."""

    clips: tuple[Clip, ...]
    lengths: tuple[int, ...]
    """Frames of each that go through the model."""
    settings: tuple[str, ...]
    """What they are, for the printed protocol."""


def _prepare(
    clips: tuple[Clip, ...],
    rules: Protocol,
    scale: int,
    frames: int | None,
    by_frame: int | None,
) -> _Prepared:
    """Lengthen and compress clips where that is wanted."""
    settings = [rules.describe(scale, made=any(clip.low is None for clip in clips))]
    notes = []
    if by_frame is not None:
        notes.append(describe(clips, by_frame, frames))
    if missing := missing_clips(clips, rules):
        notes.append(f"of the published set {', '.join(missing)} are missing")
    if by_frame is not None:
        clips = lengthened(clips, by_frame, frames)
    most = frames if by_frame is None else by_frame
    clips = compressed(clips, rules.crfs, scale, most)
    lengths = tuple(min(most or len(clip), len(clip)) for clip in clips)
    settings.append(
        f"{len(clips)} {rules.layout}, {sum(lengths)} frames through the model"
    )
    return _Prepared(clips, lengths, (*settings, *notes))


def _run_settings(
    frames: int | None, keep_ratio: float | None, precision: str
) -> list[str]:
    settings = []
    if frames is not None:
        settings.append(f"only the first {frames} frames of each clip")
    if keep_ratio is not None:
        settings.append(f"keep ratio {keep_ratio:g}")
    if precision != "fp32":
        settings.append(f"in {precision}")
    return settings


def _undefined(names: Sequence[str], results: Sequence[ClipScore]) -> list[str]:
    """Metrics that have no value on some frames."""
    settings = []
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

    def warm_up(self, low: Picture) -> None:
        """Run two frames and forget them: the first run of a model prepares the others,
        and one frame has no motion."""
        session = self._runtime.session()
        for _ in range(2):
            session.push(_to_float(low))
        session.flush()

    def run(
        self, clip: Clip, count: int
    ) -> Iterator[tuple[int, Picture, Picture | None]]:
        """Number, result and ground truth of the first ``count`` frames, in order.

        A model may keep back all frames of a chunk; their ground truth is then read
        again rather than kept.
        """
        driver = self._driver(clip.name)
        truths: dict[int, Picture | None] = {}

        def events() -> Iterator[Event[Picture]]:
            chunker: Chunker[Picture] = Chunker(self.length, self.context)
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

    def _driver(self, source: str) -> Driver[Picture]:
        card = self._runtime.card
        return Driver(
            self._runtime.session, _to_float, lookahead=card.lookahead, source=source
        )


def _to_float(low: Picture) -> FloatFrame:
    return np.ascontiguousarray(low, dtype=np.float32) / np.float32(255)


def _score_clip(
    clip: Clip,
    outputs: Iterable[tuple[int, Picture, Picture | None]],
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
