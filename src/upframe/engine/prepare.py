"""Before a run: open the source and decide everything."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

from upframe._version import __version__
from upframe.engine.checks import Refused
from upframe.engine.checks import path as path_text
from upframe.engine.destination import Destination, destination
from upframe.engine.fingerprints import fingerprint_file
from upframe.engine.models import Model, resolve_model
from upframe.engine.options import Options
from upframe.engine.speed import (
    known_speed,
    machine_key,
    measure_speed,
    remember_speed,
)
from upframe.engine.store import Store
from upframe.engine.unfinished import peek
from upframe.errors import UsageError
from upframe.media.formats import IMAGE_SUFFIXES, VideoFormat, choose_format
from upframe.media.frames import Source
from upframe.media.images import ImageSource, is_image_collection
from upframe.media.index import Extent, scan
from upframe.media.mux import rehearse
from upframe.media.source import FileSource
from upframe.media.standard import open_stdin
from upframe.media.stills import is_still
from upframe.planning.plan import Computer, Kept, Plan, make_plan
from upframe.planning.plan import Source as PlanSource
from upframe.planning.sizes import TargetSize, resolve_size
from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Choice, Fallback
from upframe.runtimes.devices import available_memory, usable_cores
from upframe.runtimes.registry import (
    check_keep_ratio,
    check_seed,
    choose,
    open_runtime,
)


@dataclass(frozen=True)
class Job:
    """An opened input with everything decided, ready to run; close it afterwards."""

    source: Source
    path: Path | None
    """The input file or folder; None is standard input."""
    output: Destination
    model: Model
    options: Options
    target: TargetSize
    choice: Choice
    """What the model runs in; after fallbacks of the run that is continued."""
    plan: Plan
    format: VideoFormat
    fingerprint: Mapping[str, Any]
    """Everything that decides what the frames look like."""
    fallbacks: tuple[Fallback, ...] = ()
    """Of the run that is continued."""

    def close(self) -> None:
        """Release the input."""
        self.source.close()

    def open_runtime(self) -> Runtime:
        """Load the model as the plan says."""
        return _open(self.model, self.choice, self.options)

    def open_store(self) -> Store:
        """The work folder of the job; made where it is not there.

        Raises:
            ResumeError: an unfinished run was made from other input or options, or has
                been changed since the plan was made.
            OutputError: the folder cannot be written, or another process holds it.
        """
        assert self.output.path is not None
        return Store(
            self.output.path,
            self.fingerprint,
            self.settings,
            fresh=self.options.fresh,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run and other processes keep of the plan."""
        tiles = self.plan.tiles
        return {
            "chunk_length": self.plan.chunk_length,
            "tile": [tiles.tile_width, tiles.tile_height],
        }


def _open(model: Model, choice: Choice, options: Options) -> Runtime:
    return open_runtime(
        model.card,
        model.files,
        choice,
        threads=options.threads,
        keep_ratio=options.keep_ratio,
        seed=options.seed,
    )


def prepare(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None,
    options: Options,
    *,
    measure_from: float = inf,
    kept: Kept | None = None,
) -> Job:
    """Open an input and decide everything.

    Args:
        src: a video file, a folder or pattern of images, or ``-``.
        dst: a video file, a folder or pattern of images, or ``-``; beside the
            input when None.
        options: the user's choices.
        measure_from: measure the model's speed, for about a second, where the rough
            estimate of the run is longer than so many seconds; 0 for always. Without
            it the plan's time is rough unless the speed was measured before.
        kept: chunk length and tile of the run that this process takes part in; those
            of an unfinished run of the output when None.

    Raises:
        UsageError: choices that contradict each other or name nothing.
        InputError: the input cannot be used.
        OutputError: the output exists already or is the input.
    """
    src = _named(src, "input")
    dst = None if dst is None else _named(dst, "output")
    model = resolve_model(options.preset, options.model)
    check_keep_ratio(model.card, options.keep_ratio)
    check_seed(model.card, options.seed)
    choice = choose(
        model.card, model.files, options.runtime, options.device, options.precision
    )
    if options.mask_images is not None and not model.card.masked:
        raise UsageError(
            f"{model.card.name} has no masks to show.",
            "Leave --mask-images out, or use a model with masks, such as MIA-VSR.",
        )
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", src):
        raise UsageError(f"{src} is an address.", "Download it first; name a file.")
    path = None if src == "-" else Path(src)
    if path is None and dst is None:
        raise UsageError("With - as input there is no name for the output.", "Add -o.")
    source, raw = _open_source(path, options)
    if raw:
        options = replace(options, size=None)
    try:
        draft = _Draft(source, path, options, model, choice)
        return draft.job(dst, measure_from, kept)
    except BaseException:
        source.close()
        raise


def _named(value: Any, role: str) -> str:
    """The path of an input or output as text."""
    try:
        return path_text(value)
    except Refused as refused:
        raise UsageError(
            f"The {role} {value!r} {refused.reason}.", refused.advice
        ) from None


def _open_source(path: Path | None, options: Options) -> tuple[Source, bool]:
    """The source, and whether ``size`` was the size of its raw frames."""
    start = float(options.start or 0)
    duration = None if options.duration is None else float(options.duration)
    rate = options.rate or Fraction(25)
    if path is None:
        return open_stdin(options.size, rate, options.deinterlace)
    if is_image_collection(path) or is_still(path):
        return ImageSource(path, rate=rate, start=start, duration=duration), False
    extent: Extent | None = None
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        extent = scan(path)
    source = FileSource(
        path,
        start=start,
        duration=duration,
        deinterlace=options.deinterlace,
        expected=extent,
    )
    return source, False


@dataclass(frozen=True)
class _Draft:
    """What is known once the source is open; `job` decides the rest."""

    source: Source
    path: Path | None
    options: Options
    model: Model
    choice: Choice

    def job(self, dst: str | None, measure_from: float, kept: Kept | None) -> Job:
        target = self._target()
        output = destination(
            self.path, dst, self.source.info, target, self.model.card.scale
        )
        output.check(self.path, overwrite=self.options.overwrite)
        video_format = self._format(output, target)
        if output.kind == "video":
            beside = self.path if self.path and self.path.is_file() else None
            base = self.source.info.time_base
            rehearse(beside, video_format, base, self.options.audio)
        fingerprint = self._fingerprint(output, target, video_format)
        unfinished = None
        if output.path is not None and not self.options.fresh:
            unfinished = peek(output.path, fingerprint)
        choice = self.choice
        fallbacks: tuple[Fallback, ...] = ()
        if unfinished is not None:
            fallbacks = unfinished.fallbacks
            choice = choice.after(fallbacks)
            kept = kept or Kept(unfinished.chunk_length, *unfinished.tile)
        plan = self._plan(target, choice, kept, measure_from)
        return Job(
            self.source,
            self.path,
            output,
            self.model,
            self.options,
            target,
            choice,
            plan,
            video_format,
            fingerprint,
            fallbacks,
        )

    def _target(self) -> TargetSize:
        info, options = self.source.info, self.options
        target = resolve_size(
            info.width,
            info.height,
            info.sar,
            self.model.card.scale,
            scale=options.scale,
            size=options.size,
            height_only=options.height,
        )
        if (target.width + 128) * (target.height + 128) >= 2**28:
            raise UsageError(
                f"{target.width}x{target.height} is larger than a video frame can be.",
                "Ask for less with --scale, --size or --height.",
            )
        return target

    def _format(self, output: Destination, target: TargetSize) -> VideoFormat:
        options = self.options
        info = replace(self.source.info, sar=target.sar)
        size = (target.width, target.height)
        if output.kind == "images":
            made = choose_format(info, ".mkv", *size)
            return replace(made, warnings=(), encoder=output.suffix, options={})
        more = dict(options.encoder_options or {})
        if output.kind == "pipe":
            deep = "yuv420p10le" if info.depth > 8 else "yuv420p"
            return choose_format(
                info,
                ".mkv",
                *size,
                codec="ffv1",
                crf=options.crf,
                pix_fmt=options.pix_fmt or deep,
                options=more,
            )
        return choose_format(
            info,
            output.suffix,
            *size,
            codec=options.codec,
            crf=options.crf,
            pix_fmt=options.pix_fmt,
            options=more,
        )

    def _plan(
        self, target: TargetSize, choice: Choice, kept: Kept | None, measure_from: float
    ) -> Plan:
        options, card, info = self.options, self.model.card, self.source.info
        cores = usable_cores()
        computer = Computer(
            choice.runtime,
            choice.device,
            choice.precision,
            cores=cores,
            threads=options.threads or cores,
        )
        source = PlanSource(
            info.width, info.height, info.frames or None, info.depth > 8, info.sar
        )

        def plan() -> Plan:
            return make_plan(
                source,
                card,
                target,
                budget_bytes=(options.memory or available_memory() // 2)
                // options.jobs,
                computer=computer,
                chunk_frames=options.chunk_frames,
                kept=kept,
            )

        key = self._speed_key(choice, computer.threads)
        speed = known_speed(key)
        if speed is None and (plan().seconds or inf) >= measure_from:
            speed = measure_speed(
                card, computer.threads, lambda: _open(self.model, choice, options)
            )
            if speed is not None:
                remember_speed(key, speed)
        computer = replace(computer, seconds_per_megapixel=speed)
        return plan()

    def _speed_key(self, choice: Choice, threads: int) -> dict[str, Any]:
        return {
            **machine_key(),
            "model": self.model.digest,
            "runtime": choice.runtime,
            "device": choice.device,
            "precision": choice.precision,
            "threads": threads,
            "keep ratio": self.options.keep_ratio,
        }

    def _fingerprint(
        self, output: Destination, target: TargetSize, video_format: VideoFormat
    ) -> dict[str, Any]:
        options, info, card = self.options, self.source.info, self.model.card
        is_video = output.kind == "video"
        fingerprint: dict[str, Any] = {
            "upframe": __version__,
            "input": self._input_fingerprint(),
            "model": card.name,
            "weights": self.model.digest,
            "precision": self.choice.precision,
            "size": [target.width, target.height],
            "start": str(options.start),
            "duration": str(options.duration),
            "deinterlace": info.interlaced,
            "frame rate": str(info.rate),
            "codec": video_format.encoder if is_video else output.suffix,
            "pixel format": video_format.pix_fmt,
            "encoder options": video_format.options,
        }
        if options.keep_ratio is not None:
            fingerprint["keep ratio"] = options.keep_ratio
        if card.seeded:
            fingerprint["seed"] = options.seed or 0
        if options.chunk_frames:
            fingerprint["chunk frames"] = options.chunk_frames
        return fingerprint

    def _input_fingerprint(self) -> Any:
        if self.path is None:
            return "pipe"
        if self.path.is_file():
            return fingerprint_file(self.path)
        assert isinstance(self.source, ImageSource)
        return self.source.fingerprint()
