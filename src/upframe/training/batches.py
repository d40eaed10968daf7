"""Batches by the number of their step, made here or ahead by other processes.

Sample ``i`` of step ``n`` depends on the seed, ``n`` and ``i`` alone. So neither the
number of workers nor their speed nor a resume changes what a step sees.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from upframe.degradations.ranges import RealConfig
from upframe.training.caches import open_caches
from upframe.training.recipe import DataConfig

if TYPE_CHECKING:
    from upframe.datasets.distilled import DistilledClips
    from upframe.datasets.temporal import TemporalData

_AHEAD = 4
"""Batches that each worker keeps ready."""


class Batch(NamedTuple):
    """Both sides, uint8: (B, h, w, 3), or (B, T, h, w, 3) of clips."""

    low: Tensor
    high: Tensor
    supervised: Sequence[int] | None = None
    """Frames of ``low`` that ``high`` has targets for; None: all."""


class Samples(Dataset[Batch]):
    """All batches of a run; ``samples[step]`` is one of them."""

    def __init__(
        self, data: DataConfig, scale: int, seed: int, share: range | None = None
    ) -> None:
        """Open the caches, making them if they are not there.

        Args:
            data: what to learn from.
            scale: output size over input size.
            seed: of the run.
            share: numbers of the samples of each batch to make; None for all.

        Raises:
            InputError: if the images or videos cannot be read.
        """
        self.data, self.scale, self.seed = data, scale, seed
        self.share = range(data.batch) if share is None else share
        self._open()

    def _open(self) -> None:
        data = self.data
        self._distilled: DistilledClips | None = None
        if data.teacher is not None:
            from upframe.datasets.distilled import DistilledClips

            self._distilled = DistilledClips(data.teacher)
            return
        self._pairs, videos = open_caches(data, self.scale)
        self._clips: TemporalData | None = None
        if data.frames > 1 or videos is not None:
            from upframe.datasets.temporal import TemporalData  # needs OpenCV

            self._clips = TemporalData(
                self._pairs, videos, data.video_share, data.motion, data.degradation
            )

    def __getstate__(self) -> dict[str, Any]:
        # mapped files would be copied as a whole: each process opens them itself
        keys = ("data", "scale", "seed", "share")
        return {key: getattr(self, key) for key in keys}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def _at(self, step: int) -> TemporalData | None:
        """The source of clips with the degradation of a step."""
        schedule, real = self.data.progressive, self.data.degradation
        if self._clips is None or schedule is None or not isinstance(real, RealConfig):
            return self._clips
        return replace(self._clips, degradation=schedule.at(step, real))

    def _from_teacher(self, clips: DistilledClips, step: int) -> Batch:
        """Windows of clips: a warm-up, then frames with the teacher's targets."""
        data = self.data
        rng = np.random.default_rng([self.seed, step])
        window = clips.window(rng, data.warmup)
        sections = [
            clips.section(
                window, data.patch, np.random.default_rng([self.seed, step, index])
            )
            for index in self.share
        ]
        return Batch(
            torch.from_numpy(np.stack([section.low for section in sections])),
            torch.from_numpy(np.stack([section.teacher for section in sections])),
            window.places,
        )

    def __getitem__(self, step: int) -> Batch:
        if self._distilled is not None:
            return self._from_teacher(self._distilled, step)
        data = self.data
        clips = self._at(step)
        lows, highs = [], []
        for index in self.share:
            rng = np.random.default_rng([self.seed, step, index])
            if clips is not None:
                low, high = clips.sample(rng, 1, data.frames, data.patch)
            else:
                low, high = self._pairs.sample(rng, 1, data.patch)
            lows.append(low)
            highs.append(high)
        return Batch(
            torch.from_numpy(np.concatenate(lows)),
            torch.from_numpy(np.concatenate(highs)),
        )


def _initialise(worker: int) -> None:
    """A signal to the whole group of processes is for the main one to answer."""
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if "cv2" in sys.modules:
        # the workers are the threads
        sys.modules["cv2"].setNumThreads(1)


def batches(
    samples: Samples, start: int, stop: int, *, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """The batches of steps ``start`` to ``stop - 1``, in order.

    Args:
        samples: where they come from.
        start: first step.
        stop: step after the last.
        workers: processes that make them ahead; 0 for none.
        pin: put them into memory from which a GPU copies fast.
    """
    return iter(
        DataLoader(
            samples,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            # forking a process that has threads, as torch's has, may hang
            multiprocessing_context="spawn" if workers else None,
            prefetch_factor=_AHEAD if workers else None,
            worker_init_fn=_initialise if workers else None,
            pin_memory=pin,
            # its own, so that the random numbers of the weights stay the same
            generator=torch.Generator(),
        )
    )
