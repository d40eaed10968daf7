"""LiftVSR-nano: what its cache and its dynamic attention contribute."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.diffusion.bench import Bench, Restore, Scores, means
from benchmarks.diffusion.clips import (
    CroppedClip,
    Frames,
    as_frames,
    by_source,
    over_pairs,
    restored,
    warping,
)
from benchmarks.diffusion.report import Result, lower

from upframe.errors import WeightsError


def cache(bench: Bench) -> Result:
    """Warping error where one segment ends and the next begins."""
    system: Any = bench.weights.network("liftvsr-nano")
    segment: int = system.config.segment
    ways: dict[str, Restore] = {
        "with its cache": partial(restored, system),
        "cache emptied at each border": partial(without_cache, system),
    }
    with suppress(WeightsError):
        other = bench.weights.network("liftvsr-nano-no-cache")
        ways["trained without"] = partial(restored, other)
    column = "E\\*warp at borders"
    scores: dict[str, Scores] = {}
    for label, restore in ways.items():
        pairs = [warping(restore(one), one) for one in bench.clips]
        borders = [over_pairs(at_borders(p, segment)) for p in pairs]
        inside = [over_pairs(at_borders(p, segment, inside=True)) for p in pairs]
        scores[label] = {
            column: by_source(bench.clips, borders.__getitem__),
            "inside": by_source(bench.clips, inside.__getitem__),
        }
    mine, *others = scores.items()
    return Result(
        "LiftVSR: the cache at the borders of segments",
        f"{bench.described}; segments of {segment} frames, so pairs "
        f"{segment - 1}-{segment} and so on are borders",
        {label: means(values) for label, values in scores.items()},
        [lower(column, mine[1][column], row[column], label) for label, row in others],
    )


def token_flow(bench: Bench) -> Result:
    """Attention along time that follows the motion, against attention that does not."""
    scores = {
        label: bench.temporal(partial(restored, bench.weights.network(name)))
        for label, name in (
            ("dynamic", "liftvsr-nano"),
            ("plain", "liftvsr-nano-plain"),
        )
    }
    moved = by_source(
        bench.clips,
        lambda n: float(
            np.mean(
                [np.hypot(*np.moveaxis(f, -1, 0)) for f, _ in bench.clips[n].motion]
            )
        ),
    )
    dynamic, plain = scores["dynamic"], scores["plain"]
    speeds = ", ".join(f"{name} {pixels:.1f}" for name, pixels in moved.items())
    return Result(
        "LiftVSR: dynamic temporal attention",
        f"{bench.described}; mean motion in pixels a frame: {speeds}; two weight files "
        "of the same recipe, the second with token_flow: false",
        {label: means(values) for label, values in scores.items()},
        [
            lower(metric, dynamic[metric], plain[metric], "plain attention")
            for metric in ("tOF", "E\\*warp")
        ],
    )


def at_borders(
    pairs: list[float], segment: int, *, inside: bool = False
) -> list[float]:
    """Of values of neighbouring frames, those across borders, or the others.

    Args:
        pairs: pair n is of frames n and n + 1.
        segment: frames of a segment.
        inside: the others instead.
    """
    return [
        value
        for number, value in enumerate(pairs, 1)
        if (number % segment == 0) is not inside
    ]


@torch.inference_mode()
def without_cache(system: Any, clip: CroppedClip) -> Frames:
    """Each segment as if a scene began with it."""
    length = system.config.segment
    parts = []
    for first in range(0, clip.low.shape[1], length):
        part = clip.low[:, first : first + length]
        parts.append(system(part, first_index=first))
    return as_frames(torch.cat(parts, dim=1))
