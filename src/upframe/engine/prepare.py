"""Before a run: open the source and decide everything."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from upframe._version import __version__
from upframe.engine.destination import Destination, destination
from upframe.engine.models import Model, longest_chunk, resolve_model, whole_segments
from upframe.engine.options import Options
from upframe.engine.store import Store, fingerprint_file
from upframe.errors import UsageError
from upframe.media.formats import IMAGE_SUFFIXES, VideoFormat, choose_format
from upframe.media.frames import Source, SourceInfo
from upframe.media.images import ImageSource, is_image_collection
from upframe.media.index import Extent, scan
from upframe.media.mux import rehearse
from upframe.media.source import FileSource
from upframe.media.standard import open_stdin
from upframe.media.stills import is_still
from upframe.planning.plan import Plan, make_plan
from upframe.planning.plan import Source as PlanSource
from upframe.planning.sizes import TargetSize, resolve_size
from upframe.planning.tiles import plan_tiles
from upframe.runtimes.base import Runtime
from upframe.runtimes.devices import available_memory, usable_cores
from upframe.runtimes.make import (
    check_keep_ratio,
    check_seed,
    choose_precision,
    open_runtime,
)

_SECONDS_PER_CHUNK = 20
_CHUNK_LIMITS = (24, 480)


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
    plan: Plan
    format: VideoFormat

    def close(self) -> None:
        """Release the input."""
        self.source.close()

    def open_runtime(self) -> Runtime:
        """Load the model as the plan says."""
        return open_runtime(
            self.model.card,
            self.model.files,
            runtime=self.options.runtime,
            device=self.options.device,
            threads=self.options.threads,
            keep_ratio=self.options.keep_ratio,
            seed=self.options.seed,
            precision=self.plan.precision,
        )

    def open_store(self) -> Store:
        """The work folder of the job; made where it is not there.

        Raises:
            ResumeError: an unfinished run was made from other input or options.
            OutputError: the folder cannot be written, or another process holds it.
        """
        assert self.output.path is not None
        tiles = self.plan.tiles
        settings = {
            "chunk_length": self.plan.chunk_length,
            "tile": [tiles.tile_width, tiles.tile_height],
        }
        return Store(
            self.output.path,
            self.fingerprint(),
            settings,
            fresh=self.options.fresh,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides what the frames look like."""
        options, info = self.options, self.source.info
        fingerprint: dict[str, Any] = {
            "upframe": __version__,
            "input": self._input_fingerprint(),
            "model": self.model.card.name,
            "weights": self.model.digest,
            "precision": self.plan.precision,
            "size": [self.plan.width, self.plan.height],
            "start": str(options.start),
            "duration": str(options.duration),
            "deinterlace": info.interlaced,
            "frame rate": str(info.rate),
            "codec": self.format.encoder
            if self.output.kind == "video"
            else self.output.suffix,
            "pixel format": self.format.pix_fmt,
            "encoder options": self.format.options,
        }
        if options.keep_ratio is not None:
            fingerprint["keep ratio"] = options.keep_ratio
        if self.model.card.seeded:
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

    def adopt(self, settings: dict[str, Any]) -> Job:
        """The job with the chunks and tiles that an earlier run began with."""
        card, info = self.model.card, self.source.info
        tile_width, tile_height = settings["tile"]
        plan = replace(
            self.plan,
            chunk_length=settings["chunk_length"],
            tiles=plan_tiles(
                info.width,
                info.height,
                tile_width,
                tile_height,
                card.overlap,
                card.multiple,
            ),
        )
        return replace(self, plan=plan)


def prepare(src: str | Path, dst: str | Path | None, options: Options) -> Job:
    """Open an input and decide everything.

    Args:
        src: a video file, a folder or pattern of pictures, or ``-``.
        dst: a video file, a folder or pattern of pictures, or ``-``; beside the
            input when None.
        options: the user's choices.

    Raises:
        UsageError: choices that contradict each other or name nothing.
        InputError: the input cannot be used.
        OutputError: the output exists already or is the input.
    """
    model = resolve_model(options.preset, options.model)
    check_keep_ratio(model.card, options.keep_ratio)
    check_seed(model.card, options.seed)
    precision = choose_precision(
        model.card,
        model.files,
        runtime=options.runtime,
        device=options.device,
        precision=options.precision,
    )
    if options.mask_images is not None and not model.card.masked:
        raise UsageError(
            f"{model.card.name} has no masks to show.",
            "Leave --mask-images out, or use a model with masks, such as MIA-VSR.",
        )
    if str(src) != "-" and re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", str(src)):
        raise UsageError(f"{src} is an address.", "Download it first; name a file.")
    path = None if str(src) == "-" else Path(src)
    if path is None and dst is None:
        raise UsageError("With - as input there is no name for the output.", "Add -o.")
    source, raw = _open_source(path, options)
    if raw:
        options = replace(options, size=None)
    try:
        return _decide(path, dst, options, model, precision, source)
    except BaseException:
        source.close()
        raise


def _open_source(path: Path | None, options: Options) -> tuple[Source, bool]:
    """The source, and whether ``size`` was the size of its raw frames."""
    start = float(options.start or 0)
    duration = None if options.duration is None else float(options.duration)
    if duration is not None and duration <= 0:
        raise UsageError("--duration must be above 0.", "For example: --duration 10.")
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


def _decide(
    path: Path | None,
    dst: str | Path | None,
    options: Options,
    model: Model,
    precision: str,
    source: Source,
) -> Job:
    info = source.info
    card = model.card
    target = resolve_size(
        info.width,
        info.height,
        info.sar,
        card.scale,
        scale=options.scale,
        size=options.size,
        height_only=options.height,
    )
    if (target.width + 128) * (target.height + 128) >= 2**28:
        raise UsageError(
            f"{target.width}x{target.height} is larger than a video picture can be.",
            "Ask for less with --scale, --size or --height.",
        )
    output = destination(path, dst, info, target, card.scale)
    output.check(path, overwrite=options.overwrite)
    kind = output.kind
    info = replace(info, sar=target.sar)
    if kind == "images":
        video_format = choose_format(info, ".mkv", target.width, target.height)
        video_format = replace(
            video_format, warnings=(), encoder=output.suffix, options={}
        )
    else:
        video_format = choose_format(
            info,
            ".mkv" if kind == "pipe" else output.suffix,
            target.width,
            target.height,
            codec="ffv1" if kind == "pipe" else options.codec,
            crf=options.crf,
            pix_fmt=_pipe_format(info, options) if kind == "pipe" else options.pix_fmt,
            options=options.encoder_options,
        )
    if kind == "video":
        beside = path if path and path.is_file() else None
        rehearse(beside, video_format, source.info.time_base, options.audio)
    cores = options.threads or usable_cores()
    budget = options.memory or available_memory() // 2
    plan_source = PlanSource(
        info.width, info.height, info.frames or None, info.depth > 8, source.info.sar
    )
    plan = make_plan(plan_source, card, target, budget_bytes=budget, cores=cores)
    if options.chunk_frames is not None:
        length = whole_segments(card, options.chunk_frames)
    else:
        length = longest_chunk(card, _chunk_length(plan.seconds_per_frame))
    plan = replace(plan, chunk_length=length, precision=precision)
    return Job(source, path, output, model, options, target, plan, video_format)


def _chunk_length(seconds_per_frame: float) -> int:
    low, high = _CHUNK_LIMITS
    return max(low, min(high, round(_SECONDS_PER_CHUNK / max(seconds_per_frame, 1e-6))))


def _pipe_format(info: SourceInfo, options: Options) -> str:
    if options.pix_fmt:
        return options.pix_fmt
    return "yuv420p10le" if info.depth > 8 else "yuv420p"
