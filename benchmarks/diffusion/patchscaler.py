"""PatchScaler-nano: what groups of patches save, and what the texture prompt adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.findings import Finding, Verdict, at_most
from benchmarks.diffusion.footage import Footage, Pictures, as_pictures

from upframe.errors import WeightsError
from upframe.evaluation.bench import time_in_turns
from upframe.systems.patchscaler.model import Options, Session


@dataclass(frozen=True)
class Sampled:
    """A clip and what it took."""

    pictures: Pictures
    steps: float
    """Calls of Patch-DiT for each patch, on average."""
    groups: tuple[int, int, int]
    """Patches that were simple, medium, hard."""


def groups(bench: Bench) -> Finding:
    """Groups by confidence against the most steps for every patch."""
    system = bench.weights.network("patchscaler-nano")
    ways = {"groups": Options(), "most steps for all": Options(keep_ratio=1.0)}
    timed = bench.footage[0].first(bench.timed)
    seconds = time_in_turns(
        [partial(sample, system, timed, how) for how in ways.values()],
        bench.rounds,
    )
    rows = {}
    shares = [0.0, 0.0, 0.0]
    for (label, how), took in zip(ways.items(), seconds, strict=True):
        done = [(sample(system, one, how), one) for one in bench.footage]
        rows[label] = {
            "LPIPS": fmean(bench.eyes.lpips(s.pictures, one) for s, one in done),
            "steps/patch": fmean(sampled.steps for sampled, _ in done),
            "ms/frame": took / bench.timed * 1e3,
        }
        if label == "groups":
            sums = [sum(s.groups[k] for s, _ in done) for k in range(3)]
            shares = [count / sum(sums) for count in sums]
    few, most = rows.values()
    return Finding(
        "PatchScaler: group sampling",
        f"{bench.clips}; simple, medium, hard patches: "
        f"{', '.join(f'{share:.0%}' for share in shares)}; the second way is "
        f"keep_ratio 1; time of whole frames, encoder and decoder included, first "
        f"{bench.timed} frames of {timed.name}, median of {bench.rounds} rounds in "
        "turns",
        rows,
        [
            at_most("LPIPS lost", few["LPIPS"] - most["LPIPS"], 0.01),
            at_most(
                "time over the most steps", few["ms/frame"] / most["ms/frame"], 0.5
            ),
        ],
    )


def prompt(bench: Bench) -> Finding:
    """The texture prompt on and off; measured, nothing is promised."""
    system: Any = bench.weights.network("patchscaler-nano")
    memory = system.memory
    if memory is None:
        raise WeightsError(
            "These weights of patchscaler-nano have no texture memory.",
            "Train with one; see recipes/patchscaler-nano.yaml.",
        )
    rows = {}
    for label, held in (("with texture prompt", memory), ("without", None)):
        system.memory = held
        done = [(sample(system, one, Options()).pictures, one) for one in bench.footage]
        rows[label] = {
            "LPIPS": fmean(bench.eyes.lpips(*pair) for pair in done),
            **_dists(bench, done),
        }
    system.memory = memory
    gain = rows["without"]["LPIPS"] - rows["with texture prompt"]["LPIPS"]
    return Finding(
        "PatchScaler: texture prompt",
        f"{bench.clips}; without a memory the prompt is the learned token for none; "
        f"{len(memory)} textures; DISTS of the first {bench.timed} frames of each clip",
        rows,
        [Verdict(f"the prompt lowers LPIPS by {gain:.4f}", gain > 0)],
    )


def _dists(bench: Bench, done: list[tuple[Pictures, Footage]]) -> dict[str, float]:
    """Nothing where its weights are not there: LPIPS is the one that is asked for."""
    first = bench.timed
    try:
        scores = [bench.eyes.dists(p[:first], one.first(first)) for p, one in done]
    except WeightsError:
        return {}
    return {"DISTS": fmean(scores)}


@torch.inference_mode()
def sample(system: Any, clip: Footage, options: Options) -> Sampled:
    """A clip frame by frame, as a video is done."""
    session = Session(system, options)
    done = [session.push(frame) for frame in clip.low[0]]
    patches = sum(len(frame.groups) for frame in done)
    counts = sum(torch.bincount(frame.groups, minlength=3) for frame in done)
    simple, medium, hard = torch.as_tensor(counts).tolist()
    return Sampled(
        as_pictures(torch.stack([frame.picture for frame in done])[None]),
        sum(frame.steps for frame in done) / patches,
        (simple, medium, hard),
    )
