"""The local backend: one process, one pipeline that decodes, runs and encodes at once.

It needs no survey: chunks are formed while the frames come.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from upframe.engine.convert import Converter, Result, frame_to_float
from upframe.engine.driver import Driver, Output, SceneChunker
from upframe.engine.finish import Report, finish, lost_properties
from upframe.engine.masks import MaskImages
from upframe.engine.pipeline import Counts, Earlier, Pipeline, ProgressCallback
from upframe.engine.prepare import Job
from upframe.engine.resume import ResumePoint
from upframe.engine.sinks import ImageSink, PipeSink, Records, Sink, VideoSink
from upframe.engine.store import Store
from upframe.media.frames import Frame
from upframe.media.pipes import PipeEncoder
from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Fallback
from upframe.runtimes.devices import peak_memory
from upframe.runtimes.tiling import sessions


def run(job: Job, progress: ProgressCallback | None = None) -> Report:
    """Carry out a job and close it.

    Args:
        job: from `prepare`.
        progress: called in this thread as frames are written.

    Raises:
        UpframeError: see its tree; the message says what to do.
        KeyboardInterrupt: Ctrl-C; finished chunks are kept for the next run.
    """
    with contextlib.closing(job):
        runtime = job.open_runtime()
        began = time.monotonic()
        if job.output.kind == "pipe":
            encoder = PipeEncoder(sys.stdout.buffer, job.format)
            chunker = SceneChunker(job.plan.chunk_length, job.plan.context)
            sink: Sink = PipeSink(encoder)
            counts = _compute(job, runtime, chunker, sink, Earlier(), progress)
            encoder.close()
            return report(job, runtime, counts, lost_properties(job), 0, began)
        with contextlib.closing(job.open_store()) as store:
            chunker, earlier = resume(job, store)
            sink = make_sink(job, store, chunker.resume_points, runtime)
            counts = _compute(job, runtime, chunker, sink, earlier, progress)
            warnings = finish(job, store)
            store.remove()
            return report(job, runtime, counts, warnings, store.resumed, began)


def make_driver(job: Job, runtime: Runtime) -> Driver[Frame]:
    """The driver of a job's frames."""
    return Driver(
        sessions(runtime, job.plan.tiles),
        frame_to_float,
        lookahead=job.model.card.lookahead,
        masks=job.options.mask_images is not None,
        source=job.source.info.name,
    )


def make_converter(job: Job) -> Converter:
    """What brings outputs of the model to the size and depth of the job's output."""
    info, images = job.source.info, job.output.kind == "images"
    return Converter(
        (job.plan.height, job.plan.width),
        deep=info.depth > 8 if images else job.format.deep,
        alpha=info.alpha and (images or job.format.alpha),
    )


def _compute(
    job: Job,
    runtime: Runtime,
    chunker: SceneChunker,
    sink: Sink,
    earlier: Earlier,
    progress: ProgressCallback | None,
) -> Counts:
    with contextlib.ExitStack() as stack:
        convert: Callable[[Output[Frame]], Result] = make_converter(job)
        if job.options.mask_images is not None:
            masks = stack.enter_context(
                contextlib.closing(MaskImages(Path(job.options.mask_images)))
            )
            convert = masks.before(convert)
        pipeline = Pipeline(
            job.source,
            chunker,
            make_driver(job, runtime),
            convert,
            sink,
            queue=job.plan.queue_length,
            total=job.source.info.frames,
            progress=progress,
            earlier=earlier,
        )
        return pipeline.run()


def resume(job: Job, store: Store) -> tuple[SceneChunker, Earlier]:
    """Continue after the chunks of the store: moves the source of the job there."""
    point = store.resume_point()
    chunker = SceneChunker(job.plan.chunk_length, job.plan.context, point)
    earlier = Earlier(set(store.done), store.state)
    if point is not None:
        job.source.begin_at(point.position)
        earlier = replace(earlier, decoded=point.position.frame, frames=point.start)
    return chunker, earlier


def make_sink(
    job: Job,
    store: Records,
    resume_points: Mapping[int, ResumePoint],
    runtime: Runtime,
) -> VideoSink | ImageSink:
    """Where the chunks of a job go."""

    def fallbacks() -> list[Fallback]:
        return [*job.fallbacks, *runtime.fallbacks]

    if job.output.kind == "video":
        return VideoSink(store, job.format, resume_points, fallbacks)
    info, output = job.source.info, job.output
    return ImageSink(
        store,
        output.suffix,
        pattern=output.pattern,
        deep=info.depth > 8,
        alpha=info.alpha,
        resume_points=resume_points,
        fallbacks=fallbacks,
    )


class RunsModel(Protocol):
    """What a report says of a runtime."""

    @property
    def name(self) -> str:
        """``onnx``, ``torch``, ``resampling``, ..."""
        ...

    @property
    def device(self) -> str:
        """``cpu``, ``cuda:0``, ..."""
        ...

    @property
    def precision(self) -> str:
        """``fp32``, ``int8``, ..."""
        ...

    @property
    def fallbacks(self) -> Sequence[Fallback]:
        """What it had to give up, in order."""
        ...


def report(
    job: Job,
    runtime: RunsModel,
    counts: Counts,
    warnings: list[str],
    resumed: int,
    began: float,
) -> Report:
    """What a finished run did.

    Args:
        job: what was done.
        runtime: what ran the model.
        counts: of this run and those before.
        warnings: of the output.
        resumed: frames that earlier runs did.
        began: when this run began, on the monotonic clock.
    """
    seconds = time.monotonic() - began
    notes = [*job.plan.warnings, *job.source.warnings, *job.format.warnings, *warnings]
    fallbacks = dict.fromkeys((*job.fallbacks, *runtime.fallbacks))
    notes += [str(one) for one in fallbacks]
    if resumed:
        notes.append(f"{resumed} frames were done in an earlier run.")
    return Report(
        output=str(job.output.path or "-"),
        frames_in=counts.frames_in,
        frames_out=counts.frames_out,
        width=job.plan.width,
        height=job.plan.height,
        seconds=round(seconds, 3),
        fps=round((counts.frames_out - resumed) / max(seconds, 1e-9), 3),
        model=job.model.card.name,
        runtime=runtime.name or job.plan.runtime,
        device=runtime.device or job.plan.device,
        precision=runtime.precision or job.plan.precision,
        peak_rss_mb=round(peak_memory() / 1e6, 1),
        warnings=notes,
    )
