"""``upframe upscale``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, cast

import typer

from upframe.cli import console
from upframe.engine.backends.local import run
from upframe.engine.finish import Report
from upframe.engine.options import Options
from upframe.engine.prepare import Job, prepare
from upframe.engine.survey import survey
from upframe.errors import Interrupted, UpframeError, UsageError
from upframe.media.codecs import AUDIO, Audio
from upframe.planning.memory import parse_size
from upframe.planning.sizes import parse_time, parse_wh
from upframe.runtimes.make import PRECISIONS

_CHOICES = {
    "preset": ("fast", "balanced", "best", "restore"),
    "runtime": ("auto", "onnx", "torch", "openvino", "tensorrt"),
    "precision": PRECISIONS,
    "deinterlace": ("auto", "on", "off"),
    "audio": AUDIO,
}


def upscale(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Videos, folders, or -.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Video, folder of pictures, pattern (%06d.png) or -; a folder for "
            "several inputs. Default: beside the input.",
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="fast, balanced, best or restore.")
    ] = "balanced",
    model: Annotated[
        str | None,
        typer.Option(help="Model, weight file or folder, instead of a preset."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Any factor; default the model's own.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Exact output size.")
    ] = None,
    height: Annotated[int | None, typer.Option(help="Output height.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:N].")] = "auto",
    runtime: Annotated[str, typer.Option(help="auto, onnx or torch.")] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="auto (int8 where it loses < 0.05 dB), fp32, fp16, bf16 or int8."
        ),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Budget, e.g. 2GiB. Default: half of free.")
    ] = None,
    keep_ratio: Annotated[
        float | None,
        typer.Option(help="Masked models: how much to compute, 0 to 1 (everything)."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Diffusion models: of the noise. Default: 0.")
    ] = None,
    mask_images: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Show what was computed, a PNG per frame."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="T", help="Begin here: 90, 1:30, 0:01:30.5.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="T", help="Take this long.")
    ] = None,
    deinterlace: Annotated[str, typer.Option(help="auto, on or off.")] = "auto",
    audio: Annotated[
        str,
        typer.Option(help="keep (recoded where it must be), recode or drop."),
    ] = "keep",
    codec: Annotated[
        str | None,
        typer.Option(
            "-c:v", "--codec", help="h264, hevc, av1, vp9, ffv1, prores, or FFmpeg's."
        ),
    ] = None,
    crf: Annotated[int | None, typer.Option(help="Quality, encoder's scale.")] = None,
    pix_fmt: Annotated[str | None, typer.Option(help="FFmpeg pixel format.")] = None,
    encoder_option: Annotated[
        list[str] | None,
        typer.Option("-e", metavar="K=V", help="Encoder option; repeatable."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="FPS", help="For pictures and raw video.")
    ] = None,
    chunk_frames: Annotated[
        int | None, typer.Option(help="Longest piece coded and resumed as one.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace outputs.")
    ] = False,
    never: Annotated[
        bool, typer.Option("-n", "--never", help="Pass over outputs that exist.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore an unfinished run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan only.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Errors only.")] = False,
) -> int:
    """Upscale videos: every frame, timestamp, stream and colour stays right."""
    _check_choice(
        preset=preset,
        runtime=runtime,
        precision=precision,
        deinterlace=deinterlace,
        audio=audio,
    )
    if overwrite and never:
        raise UsageError("-y and -n contradict each other.", "Give one of them.")
    options = Options(
        preset=preset,
        model=model,
        scale=scale,
        size=parse_wh(size) if size else None,
        height=height,
        device=device,
        runtime=runtime,
        precision=precision,
        threads=_positive("--threads", threads),
        memory=parse_size(memory) if memory else None,
        keep_ratio=keep_ratio,
        seed=seed,
        mask_images=mask_images,
        start=parse_time(start) if start else None,
        duration=parse_time(duration) if duration else None,
        deinterlace=deinterlace,
        audio=cast(Audio, audio),
        codec=codec,
        crf=crf,
        pix_fmt=pix_fmt,
        encoder_options=_pairs(encoder_option or []),
        rate=_rate(rate),
        chunk_frames=_positive("--chunk-frames", chunk_frames),
        overwrite=overwrite,
        fresh=fresh,
    )
    failed = 0
    targets = [_target(name, output, several=len(inputs) > 1) for name in inputs]
    owners: dict[str, str] = {}
    for name, target in zip(inputs, targets, strict=True):
        if target is None or owners.setdefault(target, name) == name:
            continue
        raise UsageError(
            f"{owners[target]} and {name} would both become {target}.",
            "Run them one by one with -o.",
        )
    for name, target in zip(inputs, targets, strict=True):
        try:
            _one(name, target, options, never, dry_run, as_json, quiet)
        except UpframeError as exc:
            if len(inputs) == 1:
                raise
            console.complain(exc)
            failed += 1
    if failed:
        console.say(f"upframe: {failed} of {len(inputs)} inputs failed.")
    return 0 if not failed else 1 if failed == len(inputs) else 3


def _one(
    name: str,
    target: str | None,
    options: Options,
    never: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    if never and target not in (None, "-") and Path(str(target)).exists():
        if as_json:
            console.emit({"event": "skipped", "output": target})
        elif not quiet:
            console.say(f"{target} exists already; passed over.")
        return
    job = prepare(name, target, options)
    if dry_run:
        _print_plan(job, as_json)
        return
    if as_json:
        console.emit({"event": "plan", **job.plan.to_dict()})
    display: console.Display
    if as_json:
        display = console.JsonLines()
    elif quiet:
        display = console.Silent()
    else:
        display = console.Bar(Path(name).name)
    try:
        report = run(job, display)
    except KeyboardInterrupt:
        display.stop()
        raise Interrupted(
            f"Stopped {name}.", "The same command goes on from the last finished chunk."
        ) from None
    finally:
        display.stop()
    if as_json:
        console.emit({"event": "done", **report.to_dict()})
    elif not quiet:
        _print_report(report)


def _print_plan(job: Job, as_json: bool) -> None:
    found = survey(job)
    if as_json:
        console.emit({"event": "plan", **job.plan.to_dict(), **found.to_dict()})
    else:
        print(job.plan.describe())
        print(found.describe())


def _print_report(report: Report) -> None:
    for warning in report.warnings:
        console.say(f"note: {warning}")
    console.say(
        f"{report.output}: {report.frames_out} frames, {report.width}x{report.height}, "
        f"{report.seconds:.1f} s ({report.fps:.1f} fps) with {report.model} in "
        f"{report.precision} on {report.device}, {report.peak_rss_mb:.0f} MB"
    )


def _target(name: str, output: str | None, *, several: bool) -> str | None:
    if not several or output is None:
        return output
    if output == "-":
        raise UsageError("Several inputs do not fit into one pipe.", "Name a folder.")
    folder = Path(output)
    if folder.suffix and not folder.is_dir():
        raise UsageError(
            f"Several inputs do not fit into {output}.", "Name a folder with -o."
        )
    source = Path(name)
    suffix = source.suffix if source.suffix and not source.is_dir() else ""
    from upframe.media.formats import default_suffix

    return str(folder / (source.stem + (default_suffix(source) if suffix else "")))


def _check_choice(**values: str) -> None:
    for name, value in values.items():
        if value not in _CHOICES[name]:
            raise UsageError(
                f"--{name} {value} is unknown.", f"Use {', '.join(_CHOICES[name])}."
            )


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise UsageError(f"{name} {value} is too small.", "Use 1 or more.")
    return value


def _rate(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1000:
        raise UsageError(f"--rate {text} is no frame rate.", "For example: 30000/1001.")
    return value


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise UsageError(
                f"-e {item} is not key=value.", "For example: -e tune=film."
            )
        pairs[key] = value
    return pairs
