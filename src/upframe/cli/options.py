"""Command-line options made from their declarations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Annotated, Any, TypeVar

import typer

from upframe.engine.declaring import Declaration, Declared, declarations, default_of

R = TypeVar("R")


def with_options(
    declared: type[Declared],
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command the options of a declaration.

    The command has a parameter ``options``; on the command line its place is taken by
    one parameter for each declared option, and it gets the checked whole.

    Raises:
        UsageError: from the command, where an option is invalid.
    """

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(command, eval_str=True).parameters.values():
            if one.name == "options":
                parameters += [
                    _parameter(declared, name, about)
                    for name, about in declarations(declared).items()
                ]
            else:
                parameters.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def wrapper(**given: Any) -> R:
            values = {
                name: given.pop(name)
                for name in declarations(declared)
                if name in given
            }
            return command(options=declared.from_command_line(values), **given)

        del wrapper.__wrapped__  # typer would look at the command behind it
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        return wrapper

    return decorate


def _parameter(
    declared: type[Declared], name: str, about: Declaration
) -> inspect.Parameter:
    default = default_of(declared, name)
    kinds: dict[str, Any] = {
        "value": str | None if default is None else str,
        "flag": bool,
        "list": list[str] | None,
    }
    metavar = None if about.kind == "flag" else about.metavar
    info = typer.Option(*about.flags, help=about.doc, metavar=metavar)
    if default is MISSING:
        default = inspect.Parameter.empty
    elif about.kind == "value" and default is not None:
        sides = default if isinstance(default, tuple) else (default,)
        default = "x".join(map(str, sides))
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kinds[about.kind], info],
    )
