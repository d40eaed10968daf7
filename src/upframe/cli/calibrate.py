"""``upframe calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upframe.cli import console
from upframe.errors import MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from upframe.systems.oasis.head_routing import Routing


def calibrate(
    model: Annotated[
        str, typer.Argument(help="Folder, hub id, name or file of an OASIS model.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Low-resolution clips as the model will get them: a video, or a "
            "folder of videos or of folders of pictures."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Routing file to write.")
    ],
    window: Annotated[
        str, typer.Option(metavar="TxHxW", help="Tokens of a window, odd.")
    ] = "3x9x9",
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Largest KL divergence, in nats, of a head that becomes local. "
            "Default: 0.25, which is 78% of its attention."
        ),
    ] = None,
    local_share: Annotated[
        float | None,
        typer.Option(help="Share of heads that become local, instead."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Of each clip.")] = 33,
    patch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the square in the middle of the frames that is looked at; "
            "for models that were trained on patches. Default: whole frames.",
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=1, help="Tokens measured in each clip and layer.")
    ] = 1024,
    device: Annotated[str, typer.Option(help="cpu or cuda[:N].")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: all cores.")
    ] = None,
    commit: Annotated[str | None, typer.Option(help="Of a hub id.")] = None,
    offline: Annotated[bool, typer.Option(help="No network.")] = False,
    overwrite: Annotated[bool, typer.Option("-y", help="Overwrite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Measure which heads of a video transformer need to see the whole clip."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already.", "Use -y to overwrite it.")
    try:
        sides = tuple(int(side) for side in window.split("x"))
    except ValueError as error:
        raise UsageError(
            f"{window!r} is no window.", "Give it as TxHxW, such as 3x9x9."
        ) from error
    try:
        from upframe.evaluation.calibration import calibrate as run
    except ImportError as error:
        raise MissingExtraError("Calibrating a model", "diffusion") from error

    routing = run(
        model,
        data,
        window=sides,
        threshold=threshold,
        local_share=local_share,
        frames=frames,
        patch=patch,
        queries=queries,
        device=device,
        threads=threads,
        commit=commit,
        offline=offline,
        progress=console.say,
    )
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
