"""How good the pictures are; kept by hash, so that time can be measured again alone."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from benchmarks.pareto.contenders import CACHE, Contender

from upframe.degradations.bicubic import to_uint8
from upframe.errors import InputError, RuntimeFailure
from upframe.evaluation.clips import Clip, Picture, find_clips
from upframe.evaluation.protocols import PROTOCOLS
from upframe.evaluation.scoring import ClipScoring, Scoring, mean
from upframe.runtimes.base import FloatFrame, Session

SCALE = 4
RULES = replace(PROTOCOLS["vid4"], crop="scale")
"""Vid4's protocol with a border of 4 pixels left out, as for networks of pictures."""
METRICS = ("psnr", "ssim", "lpips", "tof")


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


def load_clips(data: Path, frames: int) -> list[Clip]:
    """The first frames of the clips of a test set ``data/gt/<clip>/*.png``.

    Raises:
        InputError: there are none.
    """
    clips = find_clips(data, RULES)
    return [replace(c, high=c.high[:frames], low=c.low[:frames]) for c in clips]


def low_frames(clip: Clip) -> list[FloatFrame]:
    """What the contenders get, (h, w, 3) in [0, 1]."""
    lows = (clip.read(number, SCALE)[0] for number in range(len(clip)))
    return [low.astype(np.float32) / np.float32(255) for low in lows]


def scoring(metrics: Sequence[str] = METRICS) -> Scoring:
    """The metrics, ready.

    Raises:
        WeightsError: those of LPIPS are missing.
    """
    return Scoring(metrics, RULES, SCALE)


def score(
    contender: Contender, clips: Sequence[Clip], metrics: Scoring, threads: int
) -> Quality:
    """Scores of a contender, from the cache where nothing has changed.

    Raises:
        UpframeError: it cannot be loaded, or fails.
    """
    file = (
        CACHE / "quality" / f"{contender.name}-{_key(contender, clips, metrics)}.json"
    )
    if file.is_file():
        return Quality(**json.loads(file.read_text(encoding="utf-8")))
    runtime = contender.open(threads)
    quality = Quality(
        {clip.name: _score_clip(runtime.session(), clip, metrics) for clip in clips}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(quality), indent=1), encoding="utf-8")
    return quality


def _score_clip(session: Session, clip: Clip, metrics: Scoring) -> dict[str, float]:
    scores = metrics.clip()
    truths: deque[Picture | None] = deque()
    for number in range(len(clip)):
        low, truth = clip.read(number, SCALE)
        truths.append(truth)
        _take(session.push(low.astype(np.float32) / np.float32(255)), truths, scores)
    _take(session.flush(), truths, scores)
    if truths:
        raise RuntimeFailure(f"{len(truths)} frames never came.", "Report this.")
    return {name: mean(values) for name, values in scores.values.items()}


def _take(
    outputs: Sequence[FloatFrame], truths: deque[Picture | None], scores: ClipScoring
) -> None:
    for output in outputs:
        scores.push(to_uint8(output), truths.popleft())


def _key(contender: Contender, clips: Sequence[Clip], metrics: Scoring) -> str:
    digest = hashlib.sha256(contender.digest().encode())
    digest.update(json.dumps([dict(metrics.definitions), asdict(RULES)]).encode())
    for clip in clips:
        digest.update(clip.name.encode())
        for picture in (*clip.high, *clip.low):
            try:
                digest.update(picture.read_bytes())
            except OSError as error:
                raise InputError(f"{picture}: {error}", "Check the data.") from error
    return digest.hexdigest()[:16]
