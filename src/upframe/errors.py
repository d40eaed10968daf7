"""The exception tree. Each error says what happened, where, and what to do.

::

    UpframeError                 anything upframe raises on purpose; exit code 1
    ├── UsageError               arguments that cannot be meant; exit code 2
    ├── InputError               the input is missing, empty, damaged or no video
    ├── OutputError              the output cannot be written, or exists already
    │   └── VerificationError    what was written is not what was promised
    ├── ResumeError              an unfinished run exists that does not fit this one
    ├── WeightsError             a model file is missing, damaged or unknown
    ├── RuntimeFailure           a network produced NaN, ran out of memory, ...
    ├── MissingExtraError        an optional dependency is not installed
    └── Interrupted              Ctrl-C or SIGTERM; exit code 130, resumable
"""

from __future__ import annotations


class UpframeError(Exception):
    """Base of all errors that upframe raises on purpose.

    Args:
        message: what happened and where, one sentence.
        advice: what the user can do about it, one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message} {advice}".strip())
        self.message = message
        self.advice = advice


class UsageError(UpframeError):
    """Arguments contradict each other or name something that does not exist."""

    exit_code = 2


class InputError(UpframeError):
    """The input is missing, empty, damaged, or holds no video."""


class OutputError(UpframeError):
    """The output cannot be written, or exists and may not be replaced."""


class VerificationError(OutputError):
    """The written file does not hold the frames and timestamps it should."""


class ResumeError(UpframeError):
    """An unfinished run of the same output was made from other input or options."""


class WeightsError(UpframeError):
    """A model file is missing, damaged, of another size, or of no known system."""


class RuntimeFailure(UpframeError):  # noqa: N818 - the name says which side failed
    """A network could not be run or gave a result that is no picture."""


class MissingExtraError(UpframeError):
    """An optional dependency is needed; the message holds the install line."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed.",
            f"Install them with: pip install 'upframe[{extra}]'",
        )


class Interrupted(UpframeError):  # noqa: N818 - it is no fault
    """Stopped by Ctrl-C or SIGTERM; the same command continues the work."""

    exit_code = 130
