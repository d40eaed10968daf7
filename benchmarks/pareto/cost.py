"""Time and memory of the contenders, each in a process of its own, taking turns.

A process for each keeps their libraries from disturbing one another, and what it has
held at most is the memory of that contender alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType

from benchmarks.pareto.contenders import Contender

from upframe.errors import RuntimeFailure, UpframeError
from upframe.evaluation.bench import run_session, time_in_turns
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.devices import peak_memory


@dataclass(frozen=True)
class Cost:
    """What a contender costs."""

    runtime: str
    parameters: int
    ms_per_frame: float
    """Median over the rounds, of whole sessions."""
    peak_mb: float
    """Of its process, interpreter and libraries included; 10^6 bytes."""


@dataclass(frozen=True)
class About:
    """What a process reports once it has opened its contender."""

    runtime: str
    parameters: int


class Worker:
    """A process that opens a contender and runs sessions on request.

    Raises:
        RuntimeFailure: from any call, when the contender fails or its process ends.
    """

    def __init__(
        self, contender: Contender, clip: Sequence[FloatFrame], threads: int
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = contender.name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, contender, list(clip), threads), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def about(self) -> About:
        """Wait until it is loaded; to be called once, first."""
        about = self._answer()
        assert isinstance(about, About)
        return about

    def run(self) -> None:
        """One session, from beginning to end."""
        self._pipe.send("run")
        self._answer()

    def peak(self) -> int:
        """Most bytes held so far."""
        self._pipe.send("peak")
        peak = self._answer()
        assert isinstance(peak, int)
        return peak

    def _answer(self) -> About | int:
        answer: About | int | str
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join(10)
            answer = f"its process ended with code {self._process.exitcode}"
        if isinstance(answer, str):
            raise RuntimeFailure(f"{self._name}: {answer}", "Leave it out.")
        return answer


def measure(
    contenders: Sequence[Contender],
    clip: Sequence[FloatFrame],
    threads: int,
    rounds: int,
) -> list[Cost]:
    """Costs of contenders, in their order.

    Args:
        contenders: those that can be opened.
        clip: frames (h, w, 3) of a session.
        threads: CPU threads of each.
        rounds: sessions of each that count.

    Raises:
        RuntimeFailure: one of them fails.
    """
    with ExitStack() as stack:
        workers = []
        about = []
        for contender in contenders:
            worker = stack.enter_context(Worker(contender, clip, threads))
            about.append(worker.about())
            workers.append(worker)
        seconds = time_in_turns(
            [worker.run for worker in workers],
            rounds,
            lambda number: print(f"time: round {number} of {rounds}", flush=True),
        )
        return [
            Cost(
                reported.runtime,
                reported.parameters,
                ms_per_frame=total / len(clip) * 1e3,
                peak_mb=worker.peak() / 1e6,
            )
            for reported, total, worker in zip(about, seconds, workers, strict=True)
        ]


def _serve(
    pipe: Connection, contender: Contender, clip: list[FloatFrame], threads: int
) -> None:
    """The other process; ends when the pipe is closed."""
    try:
        runtime = contender.open(threads)
        pipe.send(About(runtime.name, runtime.card.parameters))
        while True:
            if pipe.recv() == "peak":
                pipe.send(peak_memory())
            else:
                pipe.send(run_session(runtime, clip))
    except EOFError:
        return
    except UpframeError as error:
        pipe.send(str(error))
