"""Scores of the frames; kept by hash, so that time can be measured again alone."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from benchmarks.pareto.contenders import CACHE, Contender
from PIL import Image

from upframe.datasets.images import ImageArray, read_image
from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError, RuntimeFailure, UpframeError
from upframe.evaluation.clips import find_clips
from upframe.evaluation.protocols import PROTOCOLS, Protocol
from upframe.evaluation.scoring import Scoring, mean
from upframe.evaluation.web import compressed
from upframe.runtimes.base import FloatFrame, Session

SCALE = 4
RULES = replace(PROTOCOLS["vid4"], crop="scale")
"""Vid4's protocol without a border of 4 pixels, as for models of single images."""
WEB = PROTOCOLS["web"]
"""Ordinary web video: bicubic, then H.264 at two CRFs, each a clip of its own."""
SELDOM = 4
"""Slow metrics look at every so many frames, beginning with the first."""
_SLOW = ("dists",)


@dataclass(frozen=True)
class LoadedClip:
    """The frames of a clip, in memory."""

    name: str
    high: tuple[ImageArray, ...]
    """Ground truth."""
    low: tuple[ImageArray, ...]
    """What the contenders get, before it becomes float."""

    @cached_property
    def digest(self) -> str:
        """Of all pixels."""
        digest = hashlib.sha256(self.name.encode())
        for frame in (*self.high, *self.low):
            digest.update(f"{frame.shape}".encode())
            digest.update(frame.tobytes())
        return digest.hexdigest()

    @property
    def middle(self) -> int:
        """Number of the frame that contact sheets show."""
        return len(self.high) // 2

    def frames(self) -> list[FloatFrame]:
        """What the contenders get, (h, w, 3) in [0, 1]."""
        return [low.astype(np.float32) / np.float32(255) for low in self.low]


class Metrics:
    """Metrics that are ready: those on every frame, and the slow ones on a few.

    Args:
        names: of `upframe.evaluation.metrics.METRICS`; whole-clip ones are not taken.
        rules: the protocol.

    Raises:
        UpframeError: what one of them needs is missing; see `available`.
    """

    def __init__(self, names: Sequence[str], rules: Protocol = RULES) -> None:
        self.names = tuple(names)
        self.rules = rules
        fast = [name for name in names if name not in _SLOW]
        slow = [name for name in names if name in _SLOW]
        self._parts = [
            (Scoring(part, rules, SCALE), step)
            for part, step in ((fast, 1), (slow, SELDOM))
            if part
        ]

    @property
    def definitions(self) -> dict[str, str]:
        """Metric to one sentence with everything that decides its scores."""
        return {
            name: text + ("" if step == 1 else f"; every {step}th frame")
            for scoring, step in self._parts
            for name, text in scoring.definitions.items()
        }

    def score(
        self, results: Iterable[ImageArray], truths: Sequence[ImageArray]
    ) -> dict[str, float]:
        """Metric to its mean over the frames of a clip, as many as the truths.

        Raises:
            RuntimeFailure: there are fewer or more results.
        """
        running = [(scoring.clip(), step) for scoring, step in self._parts]
        number = 0
        for number, result in enumerate(results, 1):
            if number > len(truths):
                raise RuntimeFailure("More frames came than there are.", "Report this.")
            for clip, step in running:
                if (number - 1) % step == 0:
                    clip.push(result, truths[number - 1])
        if number < len(truths):
            raise RuntimeFailure(
                f"{len(truths) - number} frames never came.", "Report this."
            )
        means = {
            name: mean(values)
            for clip, _ in running
            for name, values in clip.values.items()
        }
        return {name: means[name] for name in self.names}


def available(
    names: Sequence[str], missing: dict[str, str], rules: Protocol = RULES
) -> Metrics:
    """Those metrics that have what they need; the others get a line in ``missing``."""
    there = []
    for name in names:
        try:
            Scoring([name], rules, SCALE)
        except UpframeError as error:
            missing[name] = str(error)
        else:
            there.append(name)
    return Metrics(there, rules)


@dataclass(frozen=True)
class Quality:
    """Scores of one contender."""

    clips: Mapping[str, Mapping[str, float]]
    """Clip to metric to mean over its frames."""
    samples: Mapping[str, str]
    """Clip to the file with its middle frame."""

    @property
    def mean(self) -> dict[str, float]:
        """Metric to mean over clips."""
        metrics = next(iter(self.clips.values()))
        return {m: fmean(scores[m] for scores in self.clips.values()) for m in metrics}

    def sample(self, clip: str) -> ImageArray:
        """The middle frame of a clip as it came out."""
        return read_image(Path(self.samples[clip]))


def read_clips(data: Path, frames: int, rules: Protocol = RULES) -> list[LoadedClip]:
    """The first frames of the clips of a test set ``data/gt/<clip>/*.png``.

    Args:
        data: the test set; low-resolution frames that it lacks are made by the rules.
        frames: of each clip.
        rules: the protocol; `WEB` makes two clips of each.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    clips = []
    for clip in compressed(find_clips(data, rules), rules.crfs, SCALE, frames):
        high, low = [], []
        for number in range(min(frames, len(clip))):
            small, large = clip.read(number, SCALE)
            if large is None:
                raise InputError(f"{clip.name} has no ground truth.", "Add it in gt.")
            high.append(large)
            low.append(small)
        clips.append(LoadedClip(clip.name, tuple(high), tuple(low)))
    return clips


def score(
    contender: Contender,
    clips: Sequence[LoadedClip],
    metrics: Metrics,
    threads: int,
    cache: Path | None = None,
) -> Quality:
    """Scores of a contender, from the cache where nothing has changed.

    Raises:
        UpframeError: it cannot be loaded, or fails.
    """
    file = _place(contender, clips, metrics, cache or CACHE)
    if (quality := _kept(file)) is not None:
        return quality
    file.parent.mkdir(parents=True, exist_ok=True)
    runtime = contender.open(threads)
    scores, samples = {}, {}
    for clip in clips:
        sample = file.with_name(f"{file.stem}-{clip.name}.png")
        outputs = _keep(restored(runtime.session(), clip), clip.middle, sample)
        scores[clip.name] = metrics.score(outputs, clip.high)
        samples[clip.name] = str(sample)
    quality = Quality(scores, samples)
    file.write_text(json.dumps(asdict(quality), indent=1), encoding="utf-8")
    return quality


def score_all(
    contenders: Sequence[Contender],
    clips: Sequence[LoadedClip],
    metrics: Metrics,
    threads: int,
    cache: Path | None = None,
) -> Iterator[Quality | str]:
    """Scores of contenders in their order, or why one of them has none.

    Most metrics run on one core: with two threads and more, each contender that has
    no scores yet is given a process with one thread.
    """
    new = [one for one in contenders if _is_new(one, clips, metrics, cache or CACHE)]
    if threads == 1 or len(new) < 2:
        for one in contenders:
            yield _scored(one, clips, metrics, threads, cache)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(threads, len(new)), mp_context=spawn) as pool:
        jobs = [
            pool.submit(_scored_apart, one, clips, metrics.names, metrics.rules, cache)
            for one in contenders
        ]
        for job in jobs:
            yield job.result()


def _is_new(
    contender: Contender, clips: Sequence[LoadedClip], metrics: Metrics, cache: Path
) -> bool:
    try:
        return _kept(_place(contender, clips, metrics, cache)) is None
    except UpframeError:
        return True


def _scored(
    contender: Contender,
    clips: Sequence[LoadedClip],
    metrics: Metrics,
    threads: int,
    cache: Path | None,
) -> Quality | str:
    try:
        return score(contender, clips, metrics, threads, cache)
    except UpframeError as error:
        return str(error)


def _scored_apart(
    contender: Contender,
    clips: Sequence[LoadedClip],
    names: Sequence[str],
    rules: Protocol,
    cache: Path | None,
) -> Quality | str:
    """In a process of its own, which loads the metrics itself."""
    torch.set_num_threads(1)
    return _scored(contender, clips, Metrics(names, rules), 1, cache)


def _place(
    contender: Contender, clips: Sequence[LoadedClip], metrics: Metrics, cache: Path
) -> Path:
    """The file of scores; its name changes with everything that decides them."""
    key = hashlib.sha256(contender.digest().encode())
    key.update(json.dumps([metrics.definitions, asdict(metrics.rules)]).encode())
    key.update("".join(clip.digest for clip in clips).encode())
    return cache / "quality" / f"{contender.name}-{key.hexdigest()[:16]}.json"


def _kept(file: Path) -> Quality | None:
    """The scores of a file, if its samples are there as well."""
    if not file.is_file():
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    samples = kept.get("samples")
    if samples is None or not all(Path(x).is_file() for x in samples.values()):
        return None
    return Quality(**kept)


def restored(session: Session, clip: LoadedClip) -> Iterator[ImageArray]:
    """A clip as a network restores it, frame by frame, rounded to 8 bits.

    Raises:
        RuntimeFailure: the network fails.
    """
    outputs = chain.from_iterable(session.push(frame) for frame in clip.frames())
    yield from map(to_uint8, outputs)
    yield from map(to_uint8, session.flush())


def _keep(
    frames: Iterable[ImageArray], number: int, file: Path
) -> Iterator[ImageArray]:
    """All frames; one of them is written to a file."""
    for index, frame in enumerate(frames):
        if index == number:
            Image.fromarray(frame).save(file)
        yield frame
