"""PatchScaler-nano: what sampling, groups of patches and the texture prompt add."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from benchmarks.diffusion.bench import MARGINS, Bench, Scores, means
from benchmarks.diffusion.clips import CroppedClip, Frames, as_frames
from benchmarks.diffusion.report import Result, lower, no_worse, ratio_at_most

from upframe.errors import WeightsError
from upframe.systems.patchscaler.model import Options, Session

COARSE, GROUPS, MOST = "coarse alone", "groups", "most steps for all"


@dataclass(frozen=True)
class Sampled:
    """A restored clip and what it took."""

    frames: Frames
    steps: float
    """Calls of Patch-DiT for each patch, on average."""
    groups: tuple[int, int, int]
    """Patches that were simple, medium, hard."""


def groups(bench: Bench) -> Result:
    """Groups by confidence against the coarse restoration alone and against the most
    steps for every patch."""
    system = bench.weights.network("patchscaler-nano")
    ways = {
        COARSE: partial(sample, system, options=Options(), coarse=True),
        GROUPS: partial(sample, system, options=Options()),
        MOST: partial(sample, system, options=Options(keep_ratio=1.0)),
    }
    timed = bench.clips[0].first(bench.timed)
    seconds = bench.times({label: partial(way, timed) for label, way in ways.items()})
    done = {label: [way(clip) for clip in bench.clips] for label, way in ways.items()}
    scores = {
        label: bench.scored([one.frames for one in clips], "LPIPS")
        for label, clips in done.items()
    }
    rows = {
        label: means(scores[label])
        | {
            "steps/patch": fmean(one.steps for one in done[label]),
            "ms/frame": fmean(seconds[label].values()) / bench.timed * 1e3,
        }
        for label in ways
    }
    sums = [sum(one.groups[k] for one in done[GROUPS]) for k in range(3)]
    shares = ", ".join(f"{count / sum(sums):.0%}" for count in sums)
    lpips = {label: values["LPIPS"] for label, values in scores.items()}
    return Result(
        "PatchScaler: group sampling",
        f"{bench.described}; {COARSE}: the global restoration, decoded without any "
        f"step of diffusion; simple, medium, hard patches: {shares}; {MOST}: "
        "keep_ratio 1; time of whole frames, encoder and decoder included, first "
        f"{bench.timed} frames of {timed.name}, {bench.rounds} rounds in turns",
        rows,
        [
            lower("LPIPS", lpips[GROUPS], lpips[COARSE], COARSE),
            no_worse("LPIPS", lpips[GROUPS], lpips[MOST], MOST, MARGINS["LPIPS"]),
            ratio_at_most(
                "time over the most steps", seconds[GROUPS], seconds[MOST], 0.5
            ),
        ],
    )


def prompt(bench: Bench) -> Result:
    """The texture prompt on and off."""
    system: Any = bench.weights.network("patchscaler-nano")
    memory = system.memory
    if memory is None:
        raise WeightsError(
            "These weights of patchscaler-nano have no texture memory.",
            "Train with one; see recipes/patchscaler-nano.yaml.",
        )
    scores: dict[str, Scores] = {}
    for label, held in (("with texture prompt", memory), ("without", None)):
        system.memory = held
        done = [sample(system, one, options=Options()).frames for one in bench.clips]
        scores[label] = bench.scored(done, "LPIPS")
        try:
            scores[label] |= bench.scored(done, "DISTS")
        except WeightsError:
            continue
    system.memory = memory
    mine, other = scores.values()
    return Result(
        "PatchScaler: texture prompt",
        f"{bench.described}; without a memory the prompt is the learned token for "
        f"none; {len(memory)} textures",
        {label: means(values) for label, values in scores.items()},
        [lower(metric, mine[metric], other[metric], "without") for metric in mine],
    )


@torch.inference_mode()
def sample(
    system: Any, clip: CroppedClip, *, options: Options, coarse: bool = False
) -> Sampled:
    """A clip frame by frame, as a video is restored.

    Args:
        system: PatchScaler.
        clip: to restore.
        options: of the session.
        coarse: decode the coarse restoration, without any step of diffusion.
    """
    session = Session(system, options)
    with _without_steps(system, coarse):
        done = [session.push(frame) for frame in clip.low[0]]
    patches = sum(len(frame.groups) for frame in done)
    counts = sum(torch.bincount(frame.groups, minlength=3) for frame in done)
    simple, medium, hard = torch.as_tensor(counts).tolist()
    return Sampled(
        as_frames(torch.stack([frame.image for frame in done])[None]),
        0.0 if coarse else sum(frame.steps for frame in done) / patches,
        (simple, medium, hard),
    )


@contextmanager
def _without_steps(system: Any, coarse: bool) -> Iterator[None]:
    """Sampling that returns the coarse patches; everything else stays."""
    if not coarse:
        yield
        return
    system.sample = lambda patches, *_: patches
    try:
        yield
    finally:
        del system.sample
