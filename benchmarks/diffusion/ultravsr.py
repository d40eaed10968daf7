"""UltraVSR-nano: what its temporal modules and its one step are worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from benchmarks.diffusion.bench import Bench
from benchmarks.diffusion.findings import Finding, Verdict, at_least, below
from benchmarks.diffusion.footage import restored

from upframe.errors import WeightsError
from upframe.evaluation.bench import time_in_turns

REPEATS = (10, 1)
"""Runs of one step and of twenty in each round, so that both take about as long."""


def temporal_modules(bench: Bench) -> Finding:
    """RTS lowers warping error against the same weights trained without it."""
    rows = {}
    for label, name in (
        ("with RTS", "ultravsr-nano"),
        ("trained without", "ultravsr-nano-still"),
    ):
        network = bench.weights.network(name)
        rows[label] = bench.temporal(partial(restored, network))
    column = "E\\*warp"
    return Finding(
        "UltraVSR: temporal modules (RTS)",
        f"{bench.clips}; the second is what the first was made of: the same weights "
        "of everything else, to which training added the temporal modules alone",
        rows,
        [below(column, *_pair(rows, column))],
    )


def one_step(bench: Bench) -> Finding:
    """One step against twenty of the prior that it started from."""
    from benchmarks.diffusion.prior import STEPS, STRENGTH, PriorRestorer, load_prior

    source = bench.weights.source("ultravsr-nano-prior")
    if Path(source).suffix != ".ckpt":
        raise WeightsError(
            f"{source} is no checkpoint of the prior.", "Give runs/.../last.ckpt."
        )
    networks = {
        "one step": bench.weights.network("ultravsr-nano"),
        f"prior, {STEPS} steps": PriorRestorer(load_prior(Path(source))),
    }
    parts = [one.first(bench.timed) for one in bench.footage]
    runs = [partial(restored, made, parts[0]) for made in networks.values()]
    # a single short run would be told by whatever the machine did besides
    several = [partial(_repeat, run, n) for run, n in zip(runs, REPEATS, strict=True)]
    turns = time_in_turns(several, bench.rounds)
    seconds = [took / n for took, n in zip(turns, REPEATS, strict=True)]
    rows = {}
    for (name, network), took in zip(networks.items(), seconds, strict=True):
        results = [(restored(network, part), part) for part in parts]
        rows[name] = {
            "LPIPS": fmean(bench.eyes.lpips(*pair) for pair in results),
            "ms/frame": took / bench.timed * 1e3,
        }
    one, many = rows.values()
    return Finding(
        "UltraVSR: one step against twenty of its prior",
        f"first {bench.timed} frames of {bench.clips}; the prior noises the latent to "
        f"{STRENGTH} of the schedule and takes {STEPS} DDIM steps; time of a clip as a "
        f"whole, median of {bench.rounds} rounds in turns, in each {REPEATS[0]} runs "
        f"of one step and {REPEATS[1]} of twenty, {torch.get_num_threads()} threads",
        rows,
        [
            Verdict(
                f"LPIPS: {one['LPIPS']:.4f} in one step, "
                f"{many['LPIPS']:.4f} in {STEPS}",
                one["LPIPS"] <= many["LPIPS"],
            ),
            at_least("faster by", many["ms/frame"] / one["ms/frame"], 10, " times"),
        ],
    )


def _repeat(run: Callable[[], object], count: int) -> None:
    for _ in range(count):
        run()


def _pair(rows: dict[str, dict[str, float]], column: str) -> tuple[float, str, float]:
    (_, mine), (label, other) = rows.items()
    return mine[column], label, other[column]
