"""The claims of the diffusion systems: ``python -m benchmarks.diffusion``.

    python scripts/degrade_clips.py ../shared/data/val_video/gt runs/val_real    # once
    python -m benchmarks.diffusion [--only cache] [--weights NAME=FILE]

Held-out real clips under real-world degradation, a part of each, few frames: a whole
run is meant to take minutes on two cores. What ships is measured against variants that
do not ship: they are trained by the same recipes and looked for in ``runs``; a claim
whose weights are not there says how to train them, and keeps what was found before.
Prints every finding with its protocol, writes ``diffusion.md``, ``diffusion.json`` and
``routing.svg``, and puts the findings into benchmarks/README.md. With ``--only``
nothing is written, unless ``--update`` puts what was measured in the place of what
was found before, or ``--results`` says where.
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
from benchmarks.diffusion import liftvsr, oasis, patchscaler, standing, ultravsr
from benchmarks.diffusion.bench import Bench, memory
from benchmarks.diffusion.findings import Finding, Report
from benchmarks.diffusion.footage import read_footage
from benchmarks.diffusion.weights import Weights
from benchmarks.pages import README, write
from benchmarks.pareto.compare import load_average, processor
from benchmarks.pareto.contenders import named_files

from upframe.errors import InputError, UpframeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
DATA = ROOT / "runs" / "val_real"

CLAIMS: Mapping[str, Callable[[Bench], Finding]] = {
    "rts": ultravsr.temporal_modules,
    "one-step": ultravsr.one_step,
    "routing": oasis.routing,
    "standing": standing.beside_others,
    "memory-ultravsr": partial(memory, name="ultravsr-nano"),
    "cache": liftvsr.cache,
    "token-flow": liftvsr.token_flow,
    "memory-liftvsr": partial(memory, name="liftvsr-nano"),
    "groups": patchscaler.groups,
    "prompt": patchscaler.prompt,
}
"""By the name that ``--only`` takes."""


def measure(
    claims: Mapping[str, Callable[[Bench], Finding]], bench: Bench, measured: str
) -> tuple[dict[str, Finding], dict[str, str]]:
    """Findings, each with where and when, and why others could not be measured."""
    findings: dict[str, Finding] = {}
    missing: dict[str, str] = {}
    for name, claim in claims.items():
        print(f"measuring: {name}", flush=True)
        try:
            findings[name] = replace(claim(bench), measured=measured)
        except UpframeError as error:
            missing[name] = str(error)
            print(f"left out: {name}: {error}", flush=True)
        else:
            print(findings[name].to_markdown(), flush=True)
    return findings, missing


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
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--results", type=Path, help="default: beside this file, for a whole run"
    )
    parser.add_argument(
        "--update", action="store_true", help="with --only: write, and keep the others"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    load = load_average()
    try:
        if not options.data.is_dir():
            raise InputError(
                f"There are no clips in {options.data}.",
                "Make them: python scripts/degrade_clips.py "
                "../shared/data/val_video/gt runs/val_real",
            )
        footage = read_footage(options.data, options.frames, _size(options.size))
        bench = Bench(footage, Weights(named_files(options.weights)), options.rounds)
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
    findings, missing = measure(chosen, bench, when)
    settings = {
        "data": f"{options.data.name}, made by scripts/degrade_clips.py",
        "LPIPS": "AlexNet, v0.1; E\\*warp x1000 and tOF: Farneback flow of the ground "
        "truth; RGB, whole frames, 8 bits; mean over frames, then clips",
    }
    report = Report(settings, findings, missing)
    if folder is not None:
        if kept:
            report = report.with_earlier(RESULTS / "diffusion.json", list(CLAIMS))
        text, page = report.to_markdown(), README if kept else None
        write(folder, "diffusion", text, report.to_json(), page)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"{text} is no size.", "Give WIDTHxHEIGHT.")
    return int(width), int(height)
