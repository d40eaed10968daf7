"""Every system on the same clips: ``python -m benchmarks.systems``, from the root.

    python -m benchmarks.pareto.fetch            # once, for animevideov3
    python -m benchmarks.systems [--data DIR]

The clips are Vid4's as ordinary web video (the protocol ``web``: bicubic, then H.264 at
two CRFs): no weights and no setting were chosen by them, and no training used this
degradation. Every model is opened as a user would open it: by the name of the bundled
model (or ``--weights NAME=FILE``), through the runtime that ``upframe`` picks. Scores
are kept by hash as those of ``python -m benchmarks.pareto``, so that a second run only
measures time and memory, each system in a process of its own, in turns.

Writes ``systems.md`` and ``systems.json``, puts the table into benchmarks/README.md,
and writes the same crop of one frame from each. The contact sheet shows frames of
others: keep it out of the repository. With ``--only`` or ``--metric`` nothing but the
contact sheet is written, unless ``--results`` names a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pages import README, write
from benchmarks.pareto.compare import Comparison, compare
from benchmarks.pareto.contenders import Contender, choose, named_files
from benchmarks.pareto.quality import SCALE, WEB
from benchmarks.pareto.sheet import contact_sheet, enlarge

from upframe.errors import InputError, UpframeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
DATA = ROOT.parent / "shared" / "data" / "vid4"
PICTURE = ROOT / "runs" / "systems.png"
METRICS = (
    "psnr",
    "lpips",
    "dists",
    "checkerboard",
    "false_texture",
    "niqe",
    "tof",
    "ewarp",
)
FRAMES = 8
"""Of each clip that are scored."""
_SIDE = 256
OTHERS = ("bicubic", "animevideov3", "ditn-real-gan")
SYSTEMS: Mapping[str, str] = {
    "ditn-s": "DITN",
    "mia-vsr-s": "MIA-VSR",
    "mia-vsr-s-real": "MIA-VSR",
    "ultravsr-nano": "UltraVSR",
    "oasis-nano": "OASIS",
    "liftvsr-nano": "LiftVSR",
    "patchscaler-nano": "PatchScaler",
}
"""Our models to the published systems that they are small variants of."""


def contenders(
    only: Sequence[str] = (), weights: Mapping[str, str] | None = None
) -> list[Contender]:
    """The models that are compared.

    Args:
        only: names; all for none.
        weights: model to the file that is taken in place of the bundled one.

    Raises:
        UsageError: there is no model of a name.
    """
    weights = weights or {}
    ours = [
        Contender(name, "upframe", weights.get(name, name), label(name))
        for name in SYSTEMS
    ]
    known = {one.name: one for one in (*choose(OTHERS), *ours)}
    for name in (*only, *weights):
        if name not in known or (name in weights and name not in SYSTEMS):
            raise UsageError(
                f"There is no model {name!r} in this comparison.",
                f"There are: {', '.join(known)}.",
            )
    return [known[name] for name in only] if only else list(known.values())


def label(name: str) -> str:
    """A model of ours in tables: what ships is a variant of the published system."""
    return f"{name} (variant of {SYSTEMS[name]})"


def draw(comparison: Comparison, file: Path) -> None:
    """The middle of the first clip's middle frame, from everyone, with its name."""
    clip = comparison.clips[0]
    number = clip.middle
    panels = [("input", enlarge(clip.low[number], SCALE))]
    panels += [
        (entry.label, comparison.qualities[entry.name].sample(clip.name))
        for entry in comparison.outcome.entries
    ]
    panels.append(("ground truth", clip.high[number]))
    file.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(panels, _SIDE).save(file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.systems",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--metric", action="append", default=[], choices=METRICS)
    parser.add_argument(
        "--frames", type=int, default=FRAMES, help="of each clip that are scored"
    )
    parser.add_argument(
        "--timed", type=int, default=8, help="frames of a session that is timed"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--results", type=Path, help="default: beside this file, for a whole run"
    )
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    try:
        if not options.data.is_dir():
            raise InputError(
                f"There are no clips in {options.data}.",
                "Name a folder with gt/<clip>/*.png.",
            )
        comparison = compare(
            contenders(options.only, named_files(options.weights)),
            data=options.data,
            metrics=options.metric or METRICS,
            frames=options.frames,
            timed=options.timed,
            rounds=options.rounds,
            threads=options.threads,
            rules=WEB,
        )
    except UpframeError as error:
        sys.exit(str(error))
    outcome = comparison.outcome
    table = outcome.to_markdown()
    print(table)
    draw(comparison, options.picture)
    print(f"Written: {options.picture}")
    whole = not (options.only or options.metric)
    if folder := options.results or (RESULTS if whole else None):
        write(folder, "systems", table, outcome.to_json(), README if whole else None)
