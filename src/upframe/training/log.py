"""The log of a run: lines of JSON, TensorBoard, sample images."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.errors import MissingExtraError

Pixels = NDArray[np.uint8]


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("TensorBoard", "train") from error
    return SummaryWriter(str(folder), purge_step=step)


class RunLog:
    """The log of a run's folder, continued where there is one."""

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        tensorboard: bool,
        report: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        """Open it.

        Args:
            folder: of the run; made where it is not there.
            step: from which the run goes on.
            tensorboard: write for TensorBoard, too.
            report: is called with every line.

        Raises:
            MissingExtraError: if TensorBoard is asked for and not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._images = folder / "samples"
        self._board = _writer(folder / "tensorboard", step) if tensorboard else None
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._report = report
        self._seen: list[Mapping[str, float]] = []
        self._since = time.monotonic()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, event: str, step: int, **values: Any) -> None:
        """One line; numbers go to TensorBoard as ``event/name``."""
        line = {"event": event, "step": step, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{event}/{name}", value, step)
        if self._report is not None:
            self._report(line)

    def step(self, losses: Mapping[str, float]) -> None:
        """Remember what a step gave, for :meth:`summary`."""
        self._seen.append(losses)

    def summary(self, step: int, rate: float, skipped: int) -> None:
        """A line about the steps since the last: means of the finite ones.

        Args:
            step: number of steps done.
            rate: learning rate.
            skipped: steps skipped since the beginning of the run.
        """
        now = time.monotonic()
        finite = [x for x in self._seen if math.isfinite(x["loss"])]
        names = finite[-1] if finite else {"loss": math.nan}
        means = {
            name if name == "loss" else f"loss_{name}": round(
                sum(x.get(name, 0.0) for x in finite) / max(1, len(finite)), 6
            )
            for name in names
        }
        self.write(
            "train",
            step,
            **means,
            lr=round(rate, 8),
            steps_per_s=round(len(self._seen) / (now - self._since), 3),
            skipped=skipped,
        )
        self._seen, self._since = [], now

    def images(self, step: int, rows: Sequence[tuple[str, Pixels]]) -> None:
        """Save images.

        Args:
            step: number of steps done.
            rows: name and (H, W, 3) uint8 of each.
        """
        from PIL import Image

        self._images.mkdir(exist_ok=True)
        for name, pixels in rows:
            Image.fromarray(pixels).save(self._images / f"{step:08d}-{name}.png")
            if self._board is not None:
                self._board.add_image(name, pixels, step, dataformats="HWC")
