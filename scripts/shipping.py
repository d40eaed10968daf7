"""Shared by the scripts that ship weights: scores, judgement, memory, files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upframe.evaluation.evaluate import evaluate
from upframe.weights.card import ModelCard, WeightFile
from upframe.weights.index import FILES

Scores = dict[str, dict[str, object]]


@dataclass(frozen=True)
class TestSet:
    """Something to score on."""

    name: str
    folder: Path
    protocol: str
    metrics: tuple[str, ...] = ("psnr", "ssim")
    frames: int | None = None
    """Of each clip; None for all."""


@dataclass(frozen=True)
class Judgement:
    """What makes weights better than others."""

    test_set: str
    score: str
    higher: bool
    limits: Mapping[str, float] = field(default_factory=dict)
    """Score to what it should not be above. Weights that are further above a limit than
    those that ship are no better, whatever their score."""

    def better(self, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
        """Whether scores on the test set are better than those of what ships."""
        for name, limit in self.limits.items():
            if max(0.0, new[name] - limit) > max(0.0, old[name] - limit):
                return False
        one, other = float(new[self.score]), float(old[self.score])
        return one > other if self.higher else one < other


FIDELITY = Judgement("val_video", "psnr_y", higher=True)
RESTORATION = Judgement(
    "web_val_video",
    "dists",
    higher=False,
    limits={"checkerboard": 2.0, "false_texture": -6.0},
)
"""By DISTS, with limits on artifacts, so that no perceptual loss decides alone."""
OLD_RESTORATION = "val_real"
"""Test set of cards that were scored on the training's degradation."""


def web_sets(data: Path) -> list[TestSet]:
    """Ordinary web video: the validation clips, and two that nothing was chosen by.

    Args:
        data: folder with ``val_video`` and ``vid4``.
    """
    metrics = ("psnr", "lpips", "dists", "checkerboard", "false_texture")
    return [
        TestSet(RESTORATION.test_set, data / "val_video", "web", metrics, frames=5),
        TestSet("web_vid4_calendar_city", data / "vid4", "web", metrics, frames=8),
    ]


# A process of its own, so that only the network is counted; as the engine does it.
MEASURE = """
import json, sys
import numpy as np
from pathlib import Path
from upframe.runtimes.registry import open_runtime
from upframe.weights.card import ModelCard
card = ModelCard.model_validate_json(sys.argv[1])
paths = {k: Path(v) for k, v in json.loads(sys.argv[2]).items()}
width, height, frames = json.loads(sys.argv[3])
session = open_runtime(card, paths, device="cpu", threads=2).session()
def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(key))
rng = np.random.default_rng(0)
before = memory("VmRSS")
for i in range(frames):
    frame = rng.random((height, width, 3), dtype=np.float32)
    if i >= 2:
        frame[height // 4 :] = 0.5
    session.push(frame)
session.flush()
print((memory("VmHWM") - before) / (height * width))
"""


def entry(path: Path) -> WeightFile:
    data = path.read_bytes()
    return WeightFile(
        name=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
    )


def score(
    weights: Path | str, sets: Iterable[TestSet], frames: int | None = None
) -> Scores:
    """Scores for the card: test set to metrics, with the bicubic baseline beside.

    Args:
        weights: file or name of a model.
        sets: what to score on.
        frames: of each clip, instead of the sets' own numbers.
    """
    scores: Scores = {}
    for test in sets:
        if not test.folder.is_dir():
            raise SystemExit(f"{test.folder} is missing: no scores, nothing shipped")
        found: dict[str, object] = {}
        for title, model in (("", str(weights)), ("_bicubic", "bicubic")):
            report = evaluate(
                model=model,
                data=test.folder,
                protocol=test.protocol,
                metrics=test.metrics,
                frames=frames or test.frames,
            )
            for metric, value in report.mean.items():
                channel = "_y" if metric in ("psnr", "ssim") else ""
                found[f"{metric}{channel}{title}"] = round(value, 4)
        found["clips"] = len(report.clips)
        found["frames"] = sum(clip.frames for clip in report.clips)
        found["settings"] = report.settings
        scores[test.name] = found
        print(
            test.name, {k: v for k, v in found.items() if k != "settings"}, flush=True
        )
    return scores


def require_better(
    name: str,
    scores: Scores,
    judge: Judgement,
    sets: Iterable[TestSet] = (),
    frames: int | None = None,
) -> None:
    """Stop where weights of this name ship already and are as good.

    Args:
        name: of the model.
        scores: of the new weights.
        judge: what decides.
        sets: the judge's test set is among them; what ships is scored on it where its
            card has no such scores.
        frames: as for :func:`score`.
    """
    place = FILES / f"{name}.json"
    if not place.exists():
        return
    old = json.loads(place.read_text())["scores"].get(judge.test_set)
    if old is None:
        deciding = [test for test in sets if test.name == judge.test_set]
        old = score(name, deciding, frames)[judge.test_set]
    if not judge.better(scores[judge.test_set], old):
        raise SystemExit(f"no better than what ships: {old}; nothing changed")


def measure_memory(
    card: ModelCard, paths: Mapping[str, Path], size: tuple[int, int], frames: int
) -> int:
    """Bytes per input pixel at most, while frames of ``size`` (width, height) run.

    First everything changes, then a quarter of the frame: a recurrent model holds
    both its whole and its masked step then. It takes a dozen frames to come to rest.
    """
    files = json.dumps({kind: str(path) for kind, path in paths.items()})
    run = json.dumps([*size, frames])
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, card.model_dump_json(), files, run],
        check=True,
        capture_output=True,
    )
    return round(float(measured.stdout))


def put(card: ModelCard, paths: Mapping[str, Path]) -> None:
    """Write files and card among the bundled models."""
    FILES.mkdir(exist_ok=True)
    for path in paths.values():
        shutil.copy(path, FILES / path.name)
    text = json.dumps(card.model_dump(), indent=2) + "\n"
    (FILES / f"{card.name}.json").write_text(text)
