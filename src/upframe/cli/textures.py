"""``upframe textures``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upframe.cli import console
from upframe.errors import MissingExtraError, OutputError


def textures(
    model: Annotated[
        str,
        typer.Argument(
            help="Name or weight file of a PatchScaler, or a checkpoint of its texture "
            "classifier."
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of good images; may be given several times."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write (.safetensors).")
    ],
    capacity: Annotated[int, typer.Option(min=1, help="Textures to keep.")] = 128,
    most: Annotated[
        int, typer.Option(min=1, help="Candidates of each image, most textured.")
    ] = 16,
    whole: Annotated[
        bool,
        typer.Option(help="Write a weight file of the model with this memory instead."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("-y", help="Overwrite.")] = False,
) -> None:
    """Build a texture memory of PatchScaler from images."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already.", "Use -y to overwrite it.")
    try:
        from upframe.training.textures import make_textures, save_with
    except ImportError as error:
        raise MissingExtraError("Building a texture memory", "diffusion") from error
    memory = make_textures(
        model, data, capacity=capacity, most=most, progress=console.say
    )
    if whole:
        save_with(model, memory, output)
    else:
        memory.save(output)
    size = output.stat().st_size / 1000
    console.say(f"wrote {output}: {len(memory)} textures, {size:.0f} kB")
