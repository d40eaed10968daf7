"""``upframe calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upframe.cli import console
from upframe.cli.options import with_options
from upframe.errors import MissingExtraError, OutputError
from upframe.evaluation.options import CalibrateOptions

if TYPE_CHECKING:
    from upframe.systems.oasis.head_routing import Routing


@with_options(CalibrateOptions)
def calibrate(
    model: Annotated[
        str, typer.Argument(help="Folder, hub id, name or file of an OASIS model.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Low-resolution clips as the model will get them: a video, or a "
            "folder of videos or of folders of images."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Routing file to write.")
    ],
    *,
    options: CalibrateOptions,
    overwrite: Annotated[bool, typer.Option("-y", help="Overwrite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Measure which heads of a video transformer need to see the whole clip."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already.", "Use -y to overwrite it.")
    try:
        from upframe.evaluation.calibration import run_calibration
    except ImportError as error:
        raise MissingExtraError("Calibrating a model", "diffusion") from error

    routing = run_calibration(model, data, options, console.say)
    try:
        routing.save(output)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written: {error.strerror}.", "Check the folder."
        ) from error
    if as_json:
        print(routing.model_dump_json())
    else:
        _show(routing)
    console.say(f"wrote {output}")


def _show(routing: Routing) -> None:
    """The share of each kind per layer, and how far from global they are."""
    print("layer  global  frame  window   KL frame  KL window (smallest, largest)")
    for number, layer in enumerate(routing.layers):
        frame, window = layer.kl_frame or (), layer.kl_window or ()
        print(
            f"{number:>5}  {layer.share('global'):>6.0%} {layer.share('frame'):>6.0%} "
            f"{layer.share('window'):>7.0%}   {min(frame):.2f} {max(frame):.2f}  "
            f"{min(window):.2f} {max(window):.2f}"
        )
    print(
        f"  all  {routing.share('global'):>6.0%} {routing.share('frame'):>6.0%} "
        f"{routing.share('window'):>7.0%}"
    )
