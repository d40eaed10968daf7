"""What a model costs: time per frame and peak memory, fit to be compared.

Time: whole sessions, pushes and flush, of the same frames, so that models that keep
frames back pay for what they owe. All runtimes take turns, round by round, and each is
warmed up by a session that does not count: a machine that slows down slows all of them.
The median over the rounds counts.

Memory: each model in a process of its own, which opens it and runs one session; what
counts is the most that process has held, interpreter and libraries included.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Unpack

from upframe.engine.declaring import documented
from upframe.engine.models import Model, resolve_model
from upframe.engine.speed import moving_texture
from upframe.errors import RuntimeFailure, UpframeError
from upframe.evaluation.options import BenchKeywords, BenchOptions
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.devices import peak_memory, physical_cores
from upframe.runtimes.registry import check_keep_ratio, open_runtime


@dataclass(frozen=True)
class Cost:
    """What a model costs in one options."""

    model: str
    runtime: str
    device: str
    precision: str
    threads: int
    input: tuple[int, int]
    """Height and width."""
    params_m: float
    """Millions of trained values; 0 for resampling."""
    gflops_per_frame: float | None
    """As on its card, multiply-adds times two, if nothing is skipped; None where it
    does not."""
    ms_per_frame: float
    peak_rss_mb: float
    """Of a process that does nothing else; 10^6 bytes."""
    keep_ratio: float | None
    """Largest share that it computed, where one was set."""

    def to_dict(self) -> dict[str, Any]:
        """As ``upframe bench --json`` prints it."""
        fields = {**asdict(self), "input": list(self.input)}
        if self.keep_ratio is None:
            del fields["keep_ratio"]
        return fields


@dataclass(frozen=True)
class _Run:
    """A model at a keep ratio."""

    name: str
    model: Model
    keep_ratio: float | None

    def __str__(self) -> str:
        """For messages."""
        if self.keep_ratio is None:
            return self.name
        return f"{self.name} at keep ratio {self.keep_ratio:g}"

    def open(self, options: BenchOptions) -> Runtime:
        """Load it."""
        return open_runtime(
            self.model.card,
            self.model.files,
            runtime=options.runtime,
            device=options.device,
            threads=options.threads,
            keep_ratio=self.keep_ratio,
            precision=options.precision,
        )


@documented(BenchOptions, BenchKeywords)
def bench(
    models: Sequence[str],
    *,
    progress: Callable[[str], None] | None = None,
    **options: Unpack[BenchKeywords],
) -> list[Cost]:
    """Measure models against each other.

    Args:
        models: names of models or presets, or weight files.
        {options}
        progress: gets a line for each step.

    Returns:
        One for each model and keep ratio, in their order.

    Raises:
        UsageError: an option is invalid, or there are keep ratios and no model is
            masked.
        WeightsError: a file is damaged.
        MissingExtraError: a model needs torch and it is not installed.
        RuntimeFailure: a model fails.
    """
    chosen = BenchOptions.from_keywords(options, caller="bench")
    return run_bench(models, chosen, progress)


def run_bench(
    models: Sequence[str],
    options: BenchOptions,
    progress: Callable[[str], None] | None = None,
) -> list[Cost]:
    """The same from checked options."""
    say = progress or _silent
    runs = _runs(models, options.keep_ratio or ())
    runtimes = [run.open(options) for run in runs]
    peaks = []
    for run in runs:
        say(f"memory of {run}")
        peaks.append(peak_of_process(_command(run, options)))
    clip = list(moving_texture(*options.size, options.frames))
    rounds = options.rounds
    seconds = time_in_turns(
        [partial(run_session, runtime, clip) for runtime in runtimes],
        rounds,
        lambda number: say(f"round {number} of {rounds}" if number else "warm-up"),
    )
    return [
        _cost(run, runtime, options, total / len(clip), peak)
        for run, runtime, total, peak in zip(
            runs, runtimes, seconds, peaks, strict=True
        )
    ]


def time_in_turns(
    runs: Sequence[Callable[[], object]],
    rounds: int,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Median seconds of each run; see :func:`times_in_turns`."""
    return [
        statistics.median(values) for values in times_in_turns(runs, rounds, progress)
    ]


def times_in_turns(
    runs: Sequence[Callable[[], object]],
    rounds: int,
    progress: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """Seconds of each run in each round, taken in turns after one that does not count.

    Args:
        runs: what is measured.
        rounds: how often each counts.
        progress: is called with each round before it begins, from 0, the warm-up.
    """
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds + 1):
        if progress is not None:
            progress(number)
        for run, values in zip(runs, times, strict=True):
            began = time.perf_counter()
            run()
            if number:
                values.append(time.perf_counter() - began)
    return times


def run_session(runtime: Runtime, clip: Iterable[FloatFrame]) -> int:
    """One whole session; outputs are let go at once.

    Returns:
        Frames that went in.

    Raises:
        RuntimeFailure: the network fails, or not every frame comes out.
    """
    session = runtime.session()
    given = done = 0
    for frame in clip:
        given += 1
        done += len(session.push(frame))
    done += len(session.flush())
    if done != given:
        raise RuntimeFailure(
            f"{runtime.card.name} made {done} of {given} frames.",
            "Report this with the name of the model.",
        )
    return given


def peak_of_process(command: Sequence[str]) -> float:
    """Run a program that prints its peak memory in bytes on its last line.

    Returns:
        That in 10^6 bytes.

    Raises:
        RuntimeFailure: it fails; the message is the last line that it printed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeFailure(
            f"Measuring memory failed: {lines[-1]}", "Run one model at a time."
        )
    return int(done.stdout.split()[-1]) / 1e6


def _silent(line: str) -> None:
    del line


def _runs(models: Sequence[str], keep_ratios: Sequence[float]) -> list[_Run]:
    runs = []
    for name in models:
        model = resolve_model("balanced", name)
        ratios = keep_ratios if model.card.masked else ()
        runs += [_Run(name, model, ratio) for ratio in ratios or (None,)]
    if keep_ratios and not any(run.model.card.masked for run in runs):
        check_keep_ratio(runs[0].model.card, keep_ratios[0])
    return runs


def _command(run: _Run, options: BenchOptions) -> list[str]:
    job = json.dumps([run.name, run.keep_ratio, asdict(options)])
    return [sys.executable, "-m", "upframe.evaluation.bench", job]


def _cost(
    run: _Run, runtime: Runtime, options: BenchOptions, seconds: float, peak: float
) -> Cost:
    card = runtime.card
    megapixels = math.prod(options.size) / 1e6
    flops = card.gflops_per_megapixel * megapixels
    return Cost(
        model=card.name,
        runtime=runtime.name,
        device=runtime.device,
        precision=runtime.precision,
        threads=options.threads or physical_cores(),
        input=options.size[::-1],
        params_m=round(card.parameters / 1e6, 4),
        gflops_per_frame=round(flops, 3) if flops else None,
        ms_per_frame=round(seconds * 1e3, 3),
        peak_rss_mb=round(peak, 1),
        keep_ratio=run.keep_ratio,
    )


def _measure_memory(job: str) -> None:
    """The other process: one session of a model, then the peak on stdout."""
    name, keep_ratio, fields = json.loads(job)
    options = BenchOptions(**fields)
    runtime = _Run(name, resolve_model("balanced", name), keep_ratio).open(options)
    clip = moving_texture(*options.size, options.frames)
    run_session(runtime, clip)
    print(peak_memory())


if __name__ == "__main__":
    try:
        _measure_memory(sys.argv[1])
    except UpframeError as failure:
        sys.exit(str(failure))
