"""What goes to the screen: messages on stderr, data on stdout."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from upframe.engine.pipeline import Progress
from upframe.errors import UpframeError


def say(text: str) -> None:
    """One line for people."""
    print(text, file=sys.stderr, flush=True)


def complain(error: UpframeError) -> None:
    """An error, on one line."""
    say(f"upframe: {error}".replace("\n", " "))


def emit_error(error: UpframeError, **more: str) -> None:
    """An error as a JSON line on stdout."""
    emit({**error.to_dict(), **more})


def emit(event: dict[str, Any]) -> None:
    """One JSON line on stdout."""
    print(json.dumps(event), flush=True)


class Display(Protocol):
    """Shows how far a run is."""

    def __call__(self, progress: Progress) -> None:
        """A frame was written."""
        ...

    def stop(self) -> None:
        """The run has ended."""
        ...


class Silent:
    """Shows nothing."""

    def __call__(self, progress: Progress) -> None:
        """Ignored."""

    def stop(self) -> None:
        """Nothing to end."""


class JsonLines:
    """Progress as JSON lines on stdout, at most one a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        """Emit if a second has passed."""
        now = time.monotonic()
        if now - self._last >= 1:
            self._last = now
            left = progress.seconds_left
            emit(
                {
                    "event": "progress",
                    "done": progress.done,
                    "total": progress.total or None,
                    "fps": round(progress.fps, 3),
                    "seconds_left": None if left is None else round(left, 1),
                }
            )

    def stop(self) -> None:
        """Nothing to end."""


class Bar:
    """A progress bar on a terminal; a line every ten seconds elsewhere."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._name = name
        self._console = Console(stderr=True)
        self._last = time.monotonic()
        self._bar: Progress | None = None
        self._total = 0
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(name, total=None, state="starting")
            self._bar.start()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        state = (
            f"{progress.done}/{progress.total or '?'} frames, {progress.fps:.1f} fps"
        )
        if progress.seconds_left is not None:
            minutes, seconds = divmod(round(progress.seconds_left), 60)
            hours, minutes = divmod(minutes, 60)
            clock = f"{hours}:{minutes:02d}:{seconds:02d}"
            state += f", {clock if hours else clock[2:]} left"
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=progress.done,
                total=progress.total or None,
                state=state,
            )
        elif time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            say(f"{self._name}: {state}")

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
