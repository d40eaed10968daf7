"""Declaring options: a default, a check and a sentence each, for every entrance.

A class of options inherits from `Declared` and gives each field an `option`. Its check
takes what Python callers and the command line may write, and returns the one form that
the engine works with; whatever else it is given is a `UsageError` with advice. The
command line (``upframe.cli.options``), signatures and docstrings are made from the same
declaration.
"""

from __future__ import annotations

import inspect
import re
import reprlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, Self, TypeVar, get_type_hints

from upframe.engine.checks import Check, Refused
from upframe.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
_KEY = "option"


@dataclass(frozen=True)
class Declaration:
    """What is known of an option besides its default."""

    doc: str
    """One or two sentences, for ``--help`` and docstrings alike."""
    check: Check
    flags: tuple[str, ...]
    """Names on the command line; the first is used in messages."""
    metavar: str
    kind: Literal["value", "flag", "list"]
    """On the command line: one value, none, or several by repetition."""


def option(
    default: Any,
    check: Check,
    doc: str,
    *,
    flags: Sequence[str] = (),
    metavar: str = "TEXT",
    kind: Literal["value", "flag", "list"] = "value",
) -> Any:
    """Declare a field of a `Declared` class.

    Args:
        default: already in the engine's form; ``...`` where the option is required.
            None means that nothing was asked for and passes every check.
        check: see `Check`; applied twice it gives the same.
        doc: one or two sentences.
        flags: names on the command line; from the field's name when empty.
        metavar: placeholder of the value in ``--help``.
        kind: see `Declaration`.
    """
    about = Declaration(doc, check, tuple(flags), metavar, kind)
    if default is ...:
        return field(metadata={_KEY: about})
    return field(default=default, metadata={_KEY: about})


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Checked options; an object of a subclass holds valid values only.

    Raises:
        UsageError: a value cannot be meant; the message names it and says what can.
    """

    def __post_init__(self) -> None:
        """Check and normalise every field."""
        for name in declarations(type(self)):
            value = getattr(self, name)
            said = f"{name}={reprlib.repr(value)}"
            object.__setattr__(self, name, _checked(type(self), name, value, said))

    @classmethod
    def from_keywords(cls, values: Mapping[str, Any], *, caller: str) -> Self:
        """From keyword arguments of a function.

        Raises:
            TypeError: an argument that is not declared, as Python raises it.
            UsageError: see the class.
        """
        for name in values:
            if name not in declarations(cls):
                raise TypeError(
                    f"{caller}() got an unexpected keyword argument {name!r}"
                )
        return cls(**values)

    @classmethod
    def from_command_line(cls, values: Mapping[str, Any]) -> Self:
        """From what was written on the command line, which messages then quote.

        Raises:
            UsageError: see the class.
        """
        return cls(
            **{
                name: _checked(cls, name, value, _written(cls, name, value))
                for name, value in values.items()
            }
        )


def declarations(cls: type[Declared]) -> dict[str, Declaration]:
    """The options of a class by name, in order."""
    found = {}
    for one in fields(cls):
        about: Declaration = one.metadata[_KEY]
        if not about.flags:
            flag = "--" + one.name.replace("_", "-")
            about = Declaration(
                about.doc, about.check, (flag,), about.metavar, about.kind
            )
        found[one.name] = about
    return found


def default_of(cls: type[Declared], name: str) -> Any:
    """The default of an option; `dataclasses.MISSING` where it is required."""
    return _field(cls, name).default


def documented(
    options: type[Declared], keywords: type, *, skip: Sequence[str] = ()
) -> Callable[[F], F]:
    """Write declared options into the signature and docstring of a function.

    The function takes them as ``**options``; the line ``{options}`` of its docstring
    becomes one line for each.

    Args:
        options: the declaration.
        keywords: the ``TypedDict`` of what callers may give.
        skip: options that the function has as parameters of its own.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [
            one
            for one in signature.parameters.values()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        hints = get_type_hints(keywords)
        made = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_shown_default(options, name),
                annotation=hints[name],
            )
            for name in declarations(options)
            if name not in skip
        ]
        # keyword-only parameters of the function itself stay last, as progress does
        first = [one for one in own if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        last = [one for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*first, *made, *last]
        )
        if function.__doc__ is not None:
            function.__doc__ = insert_docs(function.__doc__, options)
        return function

    return decorate


def insert_docs(doc: str | None, options: type[Declared]) -> str | None:
    """A docstring with its line ``{options}`` replaced by a line for each option."""
    if doc is None:  # python -OO
        return None
    match = re.search(r"^( *)\{options\}$", doc, re.MULTILINE)
    assert match is not None, "the docstring has no line {options}"
    lines = [
        textwrap.fill(
            f"{name}: {about.doc}",
            width=88,
            initial_indent=match[1],
            subsequent_indent=match[1] + "    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        for name, about in declarations(options).items()
    ]
    return doc[: match.start()] + "\n".join(lines) + doc[match.end() :]


def _field(cls: type[Declared], name: str) -> Field[Any]:
    return next(one for one in fields(cls) if one.name == name)


def _shown_default(cls: type[Declared], name: str) -> Any:
    default = default_of(cls, name)
    return inspect.Parameter.empty if default is MISSING else default


def _checked(cls: type[Declared], name: str, value: Any, said: str) -> Any:
    if value is None and default_of(cls, name) is None:
        return None
    try:
        return declarations(cls)[name].check(value)
    except Refused as refused:
        raise UsageError(f"{said} {refused.reason}.", refused.advice) from None


def _written(cls: type[Declared], name: str, value: Any) -> str:
    flag = declarations(cls)[name].flags[0]
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{flag} {text}"
