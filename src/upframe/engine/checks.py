"""Checks of options: what a user may write, and the one form that the engine takes.

Each check accepts what Python callers give and the text of the command line, and gives
the same when it is applied to its own result.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from upframe.errors import UsageError
from upframe.planning.memory import parse_size
from upframe.planning.sizes import parse_time, parse_wh

Check = Callable[[Any], Any]
"""Takes a value as a user gives it and returns it as the engine needs it.

Raises:
    Refused: it cannot be meant.
"""
_LONGEST = 10**9
"""Seconds."""


class Refused(Exception):  # noqa: N818 - it becomes a UsageError
    """A value cannot be meant.

    Args:
        reason: what follows the value in a sentence, such as ``is too small``.
        advice: what to do, one sentence.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason, advice)
        self.reason, self.advice = reason, advice


def one_of(names: Sequence[str]) -> Check:
    """One of a few names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise Refused("is unknown", f"Use {', '.join(names)}.")
        return value

    return check


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise Refused("is no text", "Give some text, or leave it out.")
    return value


def path(value: Any) -> str:
    """A path, as text or an object such as ``pathlib.Path``."""
    try:
        name = os.fspath(value)
    except TypeError:
        name = ""
    if not isinstance(name, str) or not name or "\0" in name:
        raise Refused("is no path", "Give the name of a file or folder.")
    return name


def flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise Refused("is neither True nor False", "Give one of them.")
    return bool(value)


def integer(low: int, high: int | None = None) -> Check:
    """A whole number from ``low`` to ``high``, as a number or text."""

    def check(value: Any) -> int:
        number = _whole(value)
        if number is None:
            raise Refused("is no whole number", f"Use {_span(low, high)}.")
        if number < low:
            raise Refused("is too small", f"Use {_span(low, high)}.")
        if high is not None and number > high:
            raise Refused("is too large", f"Use {_span(low, high)}.")
        return number

    return check


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A finite number from ``low`` to ``high``; greater than ``low`` if ``above``."""
    span = f"a number above {low:g}" if above else f"a number from {low:g} to {high:g}"

    def check(value: Any) -> float:
        real = _real(value)
        if real is None:
            raise Refused("is no number", f"Use {span}.")
        if not low <= real <= high or (above and real == low):
            raise Refused("is out of range", f"Use {span}.")
        return float(real)

    return check


def seconds(*, above: bool) -> Check:
    """A length of time as a number of seconds, or as text such as ``1:30``.

    Args:
        above: whether 0 is refused.
    """

    def check(value: Any) -> Fraction:
        if isinstance(value, str):
            try:
                time: Fraction | None = parse_time(value)
            except UsageError as error:
                raise Refused("is no time", error.advice) from None
        else:
            time = _real(value)
        if time is None:
            raise Refused("is no time", "Write seconds or hh:mm:ss, as in 90 or 1:30.")
        if time < 0 or (above and time == 0):
            least = "above 0" if above else "0 or more"
            raise Refused("is out of range", f"Use {least} seconds.")
        if time > _LONGEST:
            raise Refused("is out of range", "No video is that long.")
        return time

    return check


def frame_rate(value: Any) -> Fraction:
    """Frames per second, as a number, or text such as ``30000/1001``."""
    rate: Fraction | None = None
    if isinstance(value, str):
        try:
            rate = Fraction(value)
        except (ValueError, ZeroDivisionError):
            rate = None
    else:
        rate = _real(value)
    if rate is None or not Fraction(1, 1000) <= rate <= 1000:
        raise Refused("is no frame rate", "For example: 30000/1001.")
    return rate


def frame_size(value: Any) -> tuple[int, int]:
    """(width, height), or text such as ``1280x720``."""
    if isinstance(value, str):
        try:
            return parse_wh(value)
        except UsageError as error:
            raise Refused("is no frame size", error.advice) from None
    try:
        sides = [_whole(side) for side in value]
    except TypeError:
        sides = []
    if len(sides) != 2 or not all(side and 0 < side < 10**6 for side in sides):
        raise Refused(
            "is no frame size", "Give width and height, as in 1280x720 or (1280, 720)."
        )
    return int(sides[0] or 0), int(sides[1] or 0)


def memory_size(value: Any) -> int:
    """Bytes, or text such as ``2GiB``."""
    size = value if isinstance(value, str) else _whole(value)
    if size is None:
        raise Refused("is no memory size", "Write it as in 2GiB or 800MB, or in bytes.")
    try:
        return parse_size(size)
    except UsageError as error:
        raise Refused("is no memory size", error.advice) from None


def pairs(value: Any) -> dict[str, str]:
    """A mapping of texts to texts or numbers, or several texts ``key=value``."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = [_pair(item) for item in value]
    else:
        items = [(None, None)]
    for key, content in items:
        known = isinstance(content, (str, int, float)) and isinstance(key, str)
        if not known or not key or "\0" in f"{key}{content}":
            raise Refused("is not key=value", "For example: -e tune=film.")
    return {key: str(content) for key, content in items}


def several(check: Check) -> Check:
    """One value or a sequence of values that a check accepts; gives a tuple."""

    def all_of(value: Any) -> tuple[Any, ...]:
        single = isinstance(value, str) or not isinstance(value, Sequence)
        return tuple(check(one) for one in ([value] if single else value))

    return all_of


def names(value: Any) -> tuple[str, ...]:
    """Names, as a sequence or as text with commas between them."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if not isinstance(value, Sequence) or not value:
        raise Refused("is no list of names", "Write them as in psnr,ssim.")
    return tuple(text(name) for name in value)


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, str) or "=" not in item:
        return None, None
    key, _, content = item.partition("=")
    return key, content


def _whole(value: Any) -> int | None:
    """A whole number, or text of one; None for anything else."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([+-]?[0-9]{1,30})\s*", value, re.ASCII)
        return int(match[1]) if match else None
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _real(value: Any) -> Fraction | None:
    """A finite number, exactly as it is written; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return Fraction(int(value))
    if isinstance(value, Fraction):
        return value
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        # through text, so that 1.1 means 11/10 and not the nearest binary number
        return Fraction(str(value))
    return None


def _span(low: int, high: int | None) -> str:
    return f"{low} or more" if high is None else f"{low} to {high}"
