"""LiftVSR-nano: what its cache and its moving attention are worth."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.diffusion.bench import Bench, Restore
from benchmarks.diffusion.findings import Finding, Verdict, below
from benchmarks.diffusion.footage import (
    Footage,
    Pictures,
    as_pictures,
    over_clips,
    restored,
    warping,
)

from upframe.errors import WeightsError


def cache(bench: Bench) -> Finding:
    """Warping error where one segment ends and the next begins."""
    system: Any = bench.weights.network("liftvsr-nano")
    segment: int = system.config.segment
    ways: dict[str, Restore] = {
        "with its cache": partial(restored, system),
        "cache emptied at each border": partial(forgetful, system),
    }
    with suppress(WeightsError):
        other = bench.weights.network("liftvsr-nano-no-cache")
        ways["trained without"] = partial(restored, other)
    rows = {}
    for label, restore in ways.items():
        clips = [warping(restore(one), one) for one in bench.footage]
        rows[label] = {
            "E\\*warp at borders": over_clips([at_borders(c, segment) for c in clips]),
            "inside": over_clips([at_borders(c, segment, inside=True) for c in clips]),
        }
    mine, *others = rows.items()
    column = "E\\*warp at borders"
    return Finding(
        "LiftVSR: the cache at the borders of segments",
        f"{bench.clips}; segments of {segment} frames, so pairs "
        f"{segment - 1}-{segment} and so on are borders",
        rows,
        [
            below(
                f"E\\*warp at borders, {mine[0]}", mine[1][column], label, row[column]
            )
            for label, row in others
        ],
    )


def token_flow(bench: Bench) -> Finding:
    """Attention along time that follows the motion, against attention that does not."""
    rows = {}
    for label, name in (
        ("dynamic", "liftvsr-nano"),
        ("plain", "liftvsr-nano-plain"),
    ):
        network = bench.weights.network(name)
        rows[label] = bench.temporal(partial(restored, network))
    moved = {
        one.name: float(
            np.mean([np.hypot(*np.moveaxis(flow, -1, 0)) for flow, _ in one.motion])
        )
        for one in bench.footage
    }
    dynamic, plain = rows["dynamic"], rows["plain"]
    better = [m for m in ("tOF", "E\\*warp") if dynamic[m] < plain[m]]
    speeds = ", ".join(f"{name} {pixels:.1f}" for name, pixels in moved.items())
    return Finding(
        "LiftVSR: dynamic temporal attention",
        f"{bench.clips}; mean motion in pixels a frame: {speeds}; two weight files of "
        "the same recipe, the second with token_flow: false",
        rows,
        [
            Verdict(
                "better than plain attention in "
                + (" and ".join(better) if better else "neither tOF nor E\\*warp"),
                bool(better),
            )
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
def forgetful(system: Any, clip: Footage) -> Pictures:
    """Each segment as if a scene began with it."""
    length = system.config.segment
    parts = []
    for first in range(0, clip.low.shape[1], length):
        part = clip.low[:, first : first + length]
        parts.append(system(part, first_index=first))
    return as_pictures(torch.cat(parts, dim=1))
