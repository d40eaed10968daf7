"""The command ``upframe``: parse, call one function, print."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer

from upframe._version import __version__
from upframe.cli import console
from upframe.cli.bench import bench
from upframe.cli.calibrate import calibrate
from upframe.cli.evaluate import evaluate
from upframe.cli.export import export
from upframe.cli.info import doctor, models_app, probe
from upframe.cli.textures import textures
from upframe.cli.train import train
from upframe.cli.upscale import upscale
from upframe.cli.verify import verify
from upframe.errors import Interrupted, UpframeError, UsageError

app = typer.Typer(
    name="upframe",
    help="Video super-resolution you can trust with your videos.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(upscale)
app.command()(probe)
app.command()(verify)
app.add_typer(models_app, name="models")
app.command()(evaluate)
app.command()(train)
app.command()(export)
app.command()(calibrate)
app.command()(textures)
app.command()(bench)
app.command()(doctor)

COMMANDS = (
    "upscale",
    "probe",
    "verify",
    "models",
    "evaluate",
    "train",
    "export",
    "calibrate",
    "textures",
    "bench",
    "doctor",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"upframe {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print it."
    ),
) -> None:
    del version


def _terminated(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt


def main() -> None:
    """Entry point; exits with 0 done, 1 failed, 2 usage, 3 some failed, 130 stopped."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] not in (*COMMANDS, "--version", "--help", "-h"):
        arguments = ["upscale", *arguments]
    if not arguments:
        arguments = ["--help"]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(arguments, standalone_mode=False)
    except UpframeError as exc:
        code = _fail(exc, arguments)
    except KeyboardInterrupt:
        code = _fail(Interrupted("Stopped."), arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except typer.Abort:
        code = 130
    except Exception as exc:
        code = _explain(exc, arguments)
    if not sys.argv[1:]:
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: UpframeError, arguments: list[str]) -> int:
    """Report an error, and as an event where the output is a stream of events."""
    if arguments[0] == "upscale" and "--json" in arguments:
        console.emit_error(error)
    console.complain(error)
    return error.exit_code


def _explain(exc: Exception, arguments: list[str]) -> int:
    """Report an exception that is not ours, without a traceback."""
    if hasattr(exc, "format_message"):
        # Usage errors of the argument parser; it carries its own exit code.
        message = str(exc.format_message()).splitlines()[0].rstrip(". ")
        error = UsageError(f"{message}.", "See upframe --help")
        error.exit_code = int(getattr(exc, "exit_code", 2))
        return _fail(error, arguments)
    if os.environ.get("UPFRAME_DEBUG"):
        raise exc
    return _fail(
        UpframeError(
            f"unexpected {type(exc).__name__}: {exc}.",
            "This is a fault of upframe; please report it with what UPFRAME_DEBUG=1 "
            "prints for the same command.",
        ),
        arguments,
    )
