"""UltraVSR-nano: what its temporal modules and its one step contribute."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from benchmarks.diffusion.bench import MARGINS, Bench, means
from benchmarks.diffusion.clips import restored
from benchmarks.diffusion.report import Result, Samples, lower, no_worse, ratio_at_least
from benchmarks.diffusion.steps import SeveralSteps

from upframe.errors import WeightsError

REPEATS = 10
"""Runs of one step in each round, so that a round takes about as long as many steps."""
STEPS = 20


def temporal_modules(bench: Bench) -> Result:
    """The temporal modules lower the warping error, at no loss of anything else."""
    before = "before the modules were added"
    scores = {
        label: bench.temporal(partial(restored, bench.weights.network(name)))
        for label, name in (
            ("with RTS", "ultravsr-nano"),
            (before, "ultravsr-nano-still"),
        )
    }
    mine, other = scores.values()
    return Result(
        "UltraVSR: temporal modules (RTS)",
        f"{bench.described}; the second is the first before its last stage, which "
        "added the temporal modules and trained them alone: it was trained for fewer "
        "steps, and all other weights are equal",
        {label: means(values) for label, values in scores.items()},
        [
            lower("E\\*warp", mine["E\\*warp"], other["E\\*warp"], before),
            *(
                no_worse(metric, mine[metric], other[metric], before, MARGINS[metric])
                for metric in ("tOF", "LPIPS")
            ),
        ],
    )


def one_step(bench: Bench) -> Result:
    """One step against many of the same network, and of the prior it started from."""
    network = bench.weights.network("ultravsr-nano")
    one, several = "one step", f"the same network, {STEPS} steps"
    networks = {one: network, several: SeveralSteps(network, STEPS)}
    prior = f"its prior, {STEPS} steps"
    networks[prior] = _prior(bench, network.colours)
    parts = [clip.first(bench.timed) for clip in bench.clips]
    runs = {
        label: partial(restored, made, parts[0]) for label, made in networks.items()
    }
    # a single short run would measure whatever else the machine does
    runs[one] = partial(_repeat, runs[one], REPEATS)
    seconds: dict[str, Samples] = bench.times(runs)
    seconds[one] = {k: taken / REPEATS for k, taken in seconds[one].items()}
    lpips: dict[str, Samples] = {}
    for label, made in networks.items():
        results = [restored(made, part) for part in parts]
        lpips[label] = bench.scored_parts(parts, results, "LPIPS")["LPIPS"]
    rows = {
        label: {
            "LPIPS": fmean(lpips[label].values()),
            "ms/frame": fmean(seconds[label].values()) / bench.timed * 1e3,
        }
        for label in networks
    }
    return Result(
        f"UltraVSR: one step against {STEPS}",
        f"first {bench.timed} frames of {bench.described}; {several}: DDIM from where "
        "the estimate of the degradation places the clip, without noise; the prior "
        "noises the latent to 0.3 of the schedule; all have the same correction of "
        f"colours; time of a clip as a whole, {bench.rounds} rounds in turns, "
        f"{REPEATS} runs of one step in each, {torch.get_num_threads()} threads",
        rows,
        [
            no_worse("LPIPS", lpips[one], lpips[several], several, MARGINS["LPIPS"]),
            no_worse("LPIPS", lpips[one], lpips[prior], prior, MARGINS["LPIPS"]),
            ratio_at_least(
                "faster than many steps", seconds[several], seconds[one], 10
            ),
        ],
    )


def _prior(bench: Bench, colours: str) -> torch.nn.Module:
    from benchmarks.diffusion.prior import PriorRestorer, load_prior

    source = bench.weights.source("ultravsr-nano-prior")
    if Path(source).suffix != ".ckpt":
        raise WeightsError(
            f"{source} is no checkpoint of the prior.", "Give runs/.../last.ckpt."
        )
    return PriorRestorer(load_prior(Path(source)), steps=STEPS, colours=colours)


def _repeat(run: Callable[[], object], count: int) -> None:
    for _ in range(count):
        run()
