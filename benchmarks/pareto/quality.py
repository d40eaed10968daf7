"""How good the pictures are; kept by hash, so that time can be measured again alone."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np
from benchmarks.pareto.contenders import CACHE, Contender

from upframe.datasets.pictures import Picture
from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError, RuntimeFailure
from upframe.evaluation.clips import find_clips
from upframe.evaluation.protocols import PROTOCOLS
from upframe.evaluation.scoring import ClipScoring, Scoring, mean
from upframe.runtimes.base import FloatFrame, Session

SCALE = 4
RULES = replace(PROTOCOLS["vid4"], crop="scale")
"""Vid4's protocol with a border of 4 pixels left out, as for networks of pictures."""


@dataclass(frozen=True)
class Shots:
    """The frames of a clip."""

    name: str
    high: tuple[Picture, ...]
    """Ground truth."""
    low: tuple[Picture, ...]
    """What the contenders get, before it becomes float."""

    @cached_property
    def digest(self) -> str:
        """Of all pixels."""
        digest = hashlib.sha256(self.name.encode())
        for picture in (*self.high, *self.low):
            digest.update(f"{picture.shape}".encode())
            digest.update(picture.tobytes())
        return digest.hexdigest()

    def frames(self) -> list[FloatFrame]:
        """What the contenders get, (h, w, 3) in [0, 1]."""
        return [low.astype(np.float32) / np.float32(255) for low in self.low]


@dataclass(frozen=True)
class Quality:
    """Scores of one contender."""

    clips: Mapping[str, Mapping[str, float]]
    """Clip to metric to mean over its frames."""

    @property
    def mean(self) -> dict[str, float]:
        """Metric to mean over clips."""
        metrics = next(iter(self.clips.values()))
        return {m: fmean(scores[m] for scores in self.clips.values()) for m in metrics}


def read_clips(data: Path, frames: int) -> list[Shots]:
    """The first frames of the clips of a test set ``data/gt/<clip>/*.png``.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    clips = []
    for clip in find_clips(data, RULES):
        high, low = [], []
        for number in range(min(frames, len(clip))):
            small, large = clip.read(number, SCALE)
            if large is None:
                raise InputError(f"{clip.name} has no ground truth.", "Add it in gt.")
            high.append(large)
            low.append(small)
        clips.append(Shots(clip.name, tuple(high), tuple(low)))
    return clips


def score(
    contender: Contender,
    clips: Sequence[Shots],
    metrics: Scoring,
    threads: int,
    cache: Path | None = None,
) -> Quality:
    """Scores of a contender, from the cache where nothing has changed.

    Raises:
        UpframeError: it cannot be loaded, or fails.
    """
    key = hashlib.sha256(contender.digest().encode())
    key.update(json.dumps([dict(metrics.definitions), asdict(RULES)]).encode())
    key.update("".join(clip.digest for clip in clips).encode())
    name = f"{contender.name}-{key.hexdigest()[:16]}.json"
    file = (cache or CACHE) / "quality" / name
    if file.is_file():
        return Quality(**json.loads(file.read_text(encoding="utf-8")))
    runtime = contender.open(threads)
    quality = Quality(
        {clip.name: score_clip(runtime.session(), clip, metrics) for clip in clips}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(quality), indent=1), encoding="utf-8")
    return quality


def score_clip(session: Session, clip: Shots, metrics: Scoring) -> dict[str, float]:
    """Metric to its mean over the frames of a clip.

    Raises:
        RuntimeFailure: the network fails, or not every frame comes out.
    """
    scores = metrics.clip()
    truths = deque(clip.high)
    for frame in clip.frames():
        _take(session.push(frame), truths, scores)
    _take(session.flush(), truths, scores)
    if truths:
        raise RuntimeFailure(f"{len(truths)} frames never came.", "Report this.")
    return {name: mean(values) for name, values in scores.values.items()}


def _take(
    outputs: Sequence[FloatFrame], truths: deque[Picture], scores: ClipScoring
) -> None:
    for output in outputs:
        scores.push(to_uint8(output), truths.popleft())
