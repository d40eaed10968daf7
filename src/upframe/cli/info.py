"""``upframe probe``, ``upframe models`` and ``upframe doctor``."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from upframe._version import __version__
from upframe.engine.models import resolve_model
from upframe.media import versions
from upframe.media.images import is_image_collection, probe_images
from upframe.media.probe import probe as probe_file
from upframe.runtimes.devices import available_memory, has_cuda, usable_cores
from upframe.weights.index import CREDITS, PRESETS, list_models

_Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

models_app = typer.Typer(help="What models there are.", no_args_is_help=True)


def probe(
    input: Annotated[str, typer.Argument(metavar="IN", help="A video file.")],
    as_json: _Json = False,
) -> None:
    """Show what a video file holds."""
    path = Path(input)
    info = probe_images(path) if is_image_collection(path) else probe_file(path)
    if as_json:
        print(json.dumps(info.to_dict(), indent=2))
        return
    video = info.video
    print(
        f"{info.path}: {info.format}, {info.duration:.3f} s, {info.chapters} chapters"
    )
    print(
        f"  upscaled: stream {video.index}, {video.codec} {video.width}x{video.height} "
        f"{video.pix_fmt}, about {video.frames} frames at {float(video.rate):g} per "
        f"second, SAR {video.sar.numerator}:{video.sar.denominator}"
    )
    for stream in info.streams:
        if stream.index == video.index:
            continue
        extra = [stream.codec, stream.language or "", stream.title or ""]
        kind = "cover image" if stream.attached_picture else stream.type
        print(f"  kept: stream {stream.index}, {kind} " + " ".join(filter(None, extra)))


@models_app.command("list")
def list_command(as_json: _Json = False) -> None:
    """All models, with size, scale and summary."""
    cards = list_models()
    if as_json:
        print(json.dumps([card.model_dump() for card in cards], indent=2))
        return
    names = {name: [p for p, m in PRESETS.items() if m == name] for name in _names()}
    for card in cards:
        presets = f" [{', '.join(names[card.name])}]" if names.get(card.name) else ""
        size = f"{card.parameters / 1000:.0f} k" if card.parameters else "no weights"
        print(f"{card.name:<16} x{card.scale}  {size:>10}  {card.summary}{presets}")


def _names() -> list[str]:
    return [card.name for card in list_models()]


@models_app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Model, preset or weight file.")],
    as_json: _Json = False,
) -> None:
    """Everything about one model, or about a weight file."""
    card = resolve_model("balanced", name).card
    if as_json:
        print(json.dumps(card.model_dump(), indent=2))
        return
    for key, value in card.model_dump().items():
        if value not in ("", {}, 0):
            print(f"{key}: {json.dumps(value) if isinstance(value, dict) else value}")
    if card.name in _names() and card.files:
        print(f"credits: {CREDITS}")


def doctor(as_json: _Json = False) -> None:
    """Show what this machine has, and what upframe will use."""
    facts: dict[str, Any] = {
        "upframe": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": usable_cores(),
        "memory_free_mb": round(available_memory() / 1e6),
        **versions.versions(),
        "cuda": has_cuda(),
        "torch": importlib.util.find_spec("torch") is not None,
        "models": _names(),
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        print(f"{key:<16} {', '.join(value) if isinstance(value, list) else value}")
    if not facts["cuda"]:
        print("No CUDA device is usable through ONNX Runtime: the CPU is used.")
    sys.stdout.flush()
