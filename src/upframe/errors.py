"""The exception tree. Each error says what happened, where, and what to do.

::

    UpframeError                 anything upframe raises on purpose; exit code 1
    ├── UsageError               arguments that cannot be meant; exit code 2
    ├── InputError               the input is missing, empty, damaged or no video
    ├── OutputError              the output cannot be written
    │   ├── OutputExistsError    the output exists already and may not be replaced
    │   └── VerificationError    what was written is not what was promised
    ├── ResumeError              an unfinished run exists that does not fit this one
    ├── WeightsError             a model file is missing, damaged or unknown
    ├── RuntimeFailure           a network produced NaN, ran out of memory, ...
    ├── MissingExtraError        an optional dependency is not installed
    └── Interrupted              Ctrl-C or SIGTERM; exit code 130, resumable
"""

from __future__ import annotations

from typing import Any


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

    def to_dict(self) -> dict[str, Any]:
        """As the ``error`` event of ``--json``."""
        return {
            "event": "error",
            "error": type(self).__name__,
            "message": self.message,
            "advice": self.advice,
            "exit_code": self.exit_code,
        }


class UsageError(UpframeError):
    """Arguments contradict each other or name something that does not exist."""

    exit_code = 2


class InputError(UpframeError):
    """The input is missing, empty, damaged, or holds no video."""


class OutputError(UpframeError):
    """The output cannot be written, or exists and may not be replaced."""


class OutputExistsError(OutputError):
    """The output exists already and may not be replaced.

    Args:
        path: the file or folder.
        message: as for all.
        advice: as for all.
    """

    def __init__(self, path: str, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.path = path


class VerificationError(OutputError):
    """The written file does not hold the frames and timestamps it should."""


class ResumeError(UpframeError):
    """An unfinished run of the same output was made from other input or options."""


class WeightsError(UpframeError):
    """A model file is missing, damaged, of another size, or of no known system."""


class RuntimeFailure(UpframeError):  # noqa: N818 - the name says which side failed
    """A network could not be run or gave a result that is no image."""


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
