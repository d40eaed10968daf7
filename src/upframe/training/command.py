"""What the command line does, without its parser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from upframe.training.caches import open_caches
from upframe.training.loop import train
from upframe.training.networks import scale_of
from upframe.training.ranks import Ranks
from upframe.training.recipe import load_recipe


def _nothing(text: str) -> None:
    """What processes but the first say."""


def run(
    path: Path,
    *,
    settings: Sequence[str],
    data: Path | None = None,
    resume: str | None,
    minutes: float | None,
    threads: int | None,
    prepare: bool,
    say: Callable[[str], None],
) -> Path:
    """Read a recipe and train, or build its caches.

    Args:
        path: of the recipe.
        settings: ``key.sub=value`` that replace settings of the recipe.
        data: folder of the data sets, ``$DATA`` in recipes; None for the default.
        resume: see :func:`upframe.training.loop.train`, as are the next two.
        minutes: wall-clock time to take at most.
        threads: of torch.
        prepare: build the caches of the data and do no more.
        say: prints a line for people.

    Returns:
        The checkpoint, or the folder of the caches.

    Raises:
        UpframeError: as :func:`upframe.training.loop.train` and
            :func:`upframe.training.caches.open_caches` do.
    """
    recipe = load_recipe(path, tuple(settings), data)
    if prepare:
        pairs, clips = open_caches(recipe.data, scale_of(recipe.system))
        what = f"{len(pairs.pairs)} images"
        if clips is not None:
            what += f" and {len(clips.clips)} clips"
        say(f"{recipe.name}: {what} are ready in {recipe.data.cache}")
        return recipe.data.cache

    if not Ranks.of_environment().first:
        say = _nothing

    def show(line: dict[str, Any]) -> None:
        say("  ".join(f"{k} {v}" for k, v in line.items() if k != "event"))

    report = train(recipe, resume=resume, minutes=minutes, threads=threads, report=show)
    state = "finished" if report.finished else "stopped, continue with --resume auto"
    size = report.checkpoint.stat().st_size / 2**20
    say(
        f"{recipe.name}: {state} at step {report.step} of {recipe.optimiser.steps} "
        f"after {report.seconds / 60:.1f} min, {report.skipped} steps skipped, "
        f"checkpoint of {size:.1f} MiB"
    )
    return report.checkpoint
