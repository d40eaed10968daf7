"""Clips with a teacher's frames: a growing folder of files, read by training.

Each file holds one degraded clip, and for some of its frames the ground truth and what
a large single-image network, the teacher, makes of them. ``upframe.training.teacher``
writes them; a student learns from them (``data.teacher`` of a recipe).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from upframe.errors import InputError

Pixels = NDArray[np.uint8]

MARGIN = 8
"""Low-resolution pixels at the border of every frame where the teacher, which sees no
more than the patch, is not to be learnt from."""


@dataclass(frozen=True)
class DistilledClip:
    """One clip; T frames, K of them with targets."""

    low: Pixels
    """(T, h, w, 3) degraded frames."""
    frames: NDArray[np.int64]
    """(K,) numbers of the frames that have targets, rising."""
    teacher: Pixels
    """(K, s * h, s * w, 3) the teacher's results."""
    high: Pixels
    """(K, s * h, s * w, 3) ground truth."""


def write_clip(clip: DistilledClip, path: Path) -> None:
    """Write a clip; the file appears only when complete."""
    draft = path.with_suffix(".part")
    with draft.open("wb") as file:
        np.savez(file, **vars(clip))
    draft.replace(path)


def read_clip(path: Path) -> DistilledClip:
    """Read a clip.

    Raises:
        InputError: if the file is missing, damaged or no such clip.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return DistilledClip(**{name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as a clip with a teacher's frames: {error}.",
            "Delete it and run python -m upframe.training.teacher again.",
        ) from error


class Window(NamedTuple):
    """Which frames a training step sees; the same for all clips of its batch."""

    order: tuple[int, ...]
    """Numbers of frames in the clip, in the order in which the student sees them."""
    places: tuple[int, int]
    """Places in ``order`` of two frames with targets; one frame follows the second."""
    targets: tuple[int, int]
    """Which of the clip's K targets these two have."""


class Section(NamedTuple):
    """A patch of a window of one clip; N frames, two of them with targets."""

    low: Pixels
    """(N, p, p, 3)."""
    teacher: Pixels
    """(2, s * p, s * p, 3)."""
    high: Pixels
    """(2, s * p, s * p, 3)."""


class DistilledClips:
    """The clips of a folder, all of one length with targets at the same frames."""

    def __init__(self, folder: Path) -> None:
        """List the clips that are there now.

        Raises:
            InputError: if there are none, or the first cannot be used.
        """
        self.paths = sorted(folder.glob("*.npz")) if folder.is_dir() else []
        if not self.paths:
            raise InputError(
                f"{folder} holds no clips with a teacher's frames.",
                "Make them with python -m upframe.training.teacher.",
            )
        first = read_clip(self.paths[0])
        self._frames, self._count = first.frames, len(first.low)
        if len(first.frames) < 2 or len(set(np.diff(first.frames))) != 1:
            raise InputError(
                f"{self.paths[0]} has no two or more targets at equal distances.",
                "Make the clips with more frames, or --every smaller.",
            )

    def window(self, rng: np.random.Generator, warmup: int) -> Window:
        """Draw the frames of a step.

        The clip runs forwards and backwards for as long as it takes: the teacher looks
        at single frames, so its results hold in both directions.

        Args:
            rng: the only random state.
            warmup: most frames before the first target; few are likelier (the cube of
                a uniform draw).
        """
        count, frames = self._count, self._frames
        every = int(frames[1] - frames[0])
        before = int((warmup + 1) * rng.random() ** 3)
        first = int(rng.integers(len(frames) - 1))
        targets = first, first + 1
        period = max(1, 2 * count - 2)
        start = int(frames[first])
        if rng.integers(2):  # backwards: the second half of the period
            targets = first + 1, first
            start = period - int(frames[first + 1])
        at = (start - before + np.arange(before + every + 2)) % period
        order = tuple(int(n if n < count else period - n) for n in at)
        return Window(order, (before, before + every), targets)

    def section(self, window: Window, patch: int, rng: np.random.Generator) -> Section:
        """A random patch of a random clip, flipped and turned at random.

        Args:
            window: which frames.
            patch: side of the low-resolution patch; at most the clips' without their
                margin.
            rng: the only random state.

        Raises:
            InputError: if a clip is damaged, too small or has other frames.
        """
        path = self.paths[int(rng.integers(len(self.paths)))]
        clip = read_clip(path)
        height, width = clip.low.shape[1:3]
        if len(clip.low) != self._count or list(clip.frames) != list(self._frames):
            raise InputError(
                f"{path} has other frames than {self.paths[0]}.",
                "Keep clips of one length and distance of targets in a folder.",
            )
        scale = clip.teacher.shape[1] // height
        room = [side - 2 * MARGIN - patch for side in (height, width)]
        if min(room) < 0:
            raise InputError(
                f"Patches of {patch} pixels do not fit into {path}, {width}x{height}.",
                f"Their side is at most {min(height, width) - 2 * MARGIN}.",
            )
        y, x = (MARGIN + int(rng.integers(most + 1)) for most in room)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))

        def piece(frames: Pixels, numbers: tuple[int, ...], k: int) -> Pixels:
            part = frames[:, y * k : (y + patch) * k, x * k : (x + patch) * k]
            part = np.rot90(part[list(numbers)], turns, axes=(1, 2))
            return np.ascontiguousarray(part[:, :, ::-1] if flip else part)

        return Section(
            piece(clip.low, window.order, 1),
            piece(clip.teacher, window.targets, scale),
            piece(clip.high, window.targets, scale),
        )
