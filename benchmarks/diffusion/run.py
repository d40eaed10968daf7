"""The claims of the diffusion systems: ``python -m benchmarks.diffusion``.

    python -m benchmarks.diffusion [--data DIR] [--only cache] [--weights NAME=FILE]

Held-out real clips as ordinary web video (the protocol ``web``: bicubic, then H.264 at
two CRFs), a part of each, few frames. No training used this degradation. A verdict
needs a difference beyond two standard deviations over the clips, or over the rounds
where time is measured; a claim holds only if all its verdicts do.

What ships is measured against variants that do not ship: they are trained by the same
recipes and looked for in ``runs``. A claim whose weights are not there names the
command that trains them, and keeps its earlier result. Prints every result with its
protocol, writes ``diffusion.md``, ``diffusion.json`` and ``routing.svg``, and puts the
results into benchmarks/README.md. With ``--only`` nothing is written, unless
``--update`` replaces the earlier results of these claims, or ``--results`` names a
folder. ``--render`` measures nothing and writes the kept results again.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from benchmarks.diffusion import comparison, liftvsr, oasis, patchscaler, ultravsr
from benchmarks.diffusion.bench import Bench, memory
from benchmarks.diffusion.clips import read_cropped
from benchmarks.diffusion.report import DEVIATIONS, LEAST, Report, Result
from benchmarks.diffusion.weights import Weights
from benchmarks.pages import README, write
from benchmarks.pareto.compare import load_average, processor
from benchmarks.pareto.contenders import named_files
from benchmarks.pareto.quality import WEB

from upframe.errors import InputError, UpframeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
DATA = ROOT.parent / "shared" / "data" / "val_video"

CLAIMS: Mapping[str, Callable[[Bench], Result]] = {
    "rts": ultravsr.temporal_modules,
    "one-step": ultravsr.one_step,
    "routing": oasis.routing,
    "comparison": comparison.against_others,
    "memory-ultravsr": partial(memory, name="ultravsr-nano"),
    "cache": liftvsr.cache,
    "token-flow": liftvsr.token_flow,
    "memory-liftvsr": partial(memory, name="liftvsr-nano"),
    "groups": patchscaler.groups,
    "prompt": patchscaler.prompt,
}
"""By the name that ``--only`` takes."""


def measure(
    claims: Mapping[str, Callable[[Bench], Result]], bench: Bench, measured: str
) -> tuple[dict[str, Result], dict[str, str]]:
    """Results, each with where and when, and why others could not be measured."""
    results: dict[str, Result] = {}
    missing: dict[str, str] = {}
    for name, claim in claims.items():
        print(f"measuring: {name}", flush=True)
        try:
            results[name] = replace(claim(bench), measured=measured)
        except UpframeError as error:
            missing[name] = str(error)
            print(f"left out: {name}: {error}", flush=True)
        else:
            print(results[name].to_markdown(), flush=True)
    return results, missing


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.diffusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", action="append", default=[], choices=list(CLAIMS))
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--frames", type=int, default=17, help="of each clip")
    parser.add_argument("--size", default="96x72", help="of low resolution")
    parser.add_argument("--rounds", type=int, default=LEAST)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--results", type=Path, help="default: beside this file, for a whole run"
    )
    parser.add_argument(
        "--update", action="store_true", help="with --only: write, and keep the others"
    )
    parser.add_argument(
        "--render", action="store_true", help="only write the kept results again"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    load = load_average()
    if options.render:
        keep(Report(_settings(), {}), RESULTS, README)
        return
    try:
        if not options.data.is_dir():
            raise InputError(
                f"There are no clips in {options.data}.",
                "Name a folder with gt/<clip>/*.png.",
            )
        clips = read_cropped(options.data, options.frames, _size(options.size))
        bench = Bench(clips, Weights(named_files(options.weights)), options.rounds)
    except UpframeError as error:
        sys.exit(str(error))
    kept = options.update or not options.only
    folder = options.results or (RESULTS if kept else None)
    known = dict(CLAIMS)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        known["routing"] = partial(oasis.routing, plot=folder / "routing.svg")
    chosen = {name: known[name] for name in options.only or CLAIMS}
    when = f"{processor()}, {options.threads} threads, "
    when += f"{datetime.date.today().isoformat()}; {load}"
    results, missing = measure(chosen, bench, when)
    report = Report(_settings(), results, missing)
    if kept:
        keep(report, folder or RESULTS, README)
    elif folder is not None:
        write(folder, "diffusion", report.to_markdown(), report.to_json(), None)


def keep(report: Report, folder: Path, page: Path) -> None:
    """Write a report and the earlier results of the claims that it lacks.

    Args:
        report: what was measured.
        folder: gets ``diffusion.md`` and ``diffusion.json``.
        page: gets the results, too.
    """
    whole = report.with_earlier(RESULTS / "diffusion.json", list(CLAIMS))
    write(folder, "diffusion", whole.to_markdown(), whole.to_json(), page)


def _settings() -> dict[str, object]:
    return {
        "clips": "the protocol web (docs/metrics.md): each clip at CRF 23 and at CRF "
        "30; a subset of a verdict is a clip at both",
        "scores": f"LPIPS (AlexNet, v0.1) and DISTS: mean over {WEB.phases} crops that "
        "differ by 2 pixels; E\\*warp x1000 and tOF: Farneback flow of the ground "
        "truth; RGB, whole frames, 8 bits; mean over frames, then clips",
        "verdicts": f"mean ± standard deviation over subsets or rounds, {LEAST} at "
        f"least; holds only beyond {DEVIATIONS} standard deviations",
    }


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"{text} is no size.", "Give WIDTHxHEIGHT.")
    return int(width), int(height)
