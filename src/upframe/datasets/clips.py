"""Frames of real clips as arrays on disk, and random pieces of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.frames import Frames
from upframe.datasets.images import ImageArray
from upframe.datasets.layouts import Split, find_layout, open_training
from upframe.errors import InputError

_VERSION = 1


class ClipCache:
    """Decoded clips, mapped into memory; made by :meth:`build`."""

    def __init__(self, folder: Path) -> None:
        """Open a finished cache.

        Raises:
            InputError: if the folder holds no finished cache.
        """
        self.folder = folder
        index = folder / "index.json"
        if not index.is_file():
            raise InputError(f"{folder} holds no cache of clips.", "Build it first.")
        self.names: list[str] = json.loads(index.read_text())["names"]
        self.clips = [
            np.load(folder / f"{number:04d}.npy", mmap_mode="r")
            for number in range(len(self.names))
        ]

    @classmethod
    def build(
        cls,
        videos: Path | Sequence[Path],
        folder: Path,
        most: int = 64,
        *,
        split: Split | None = None,
    ) -> ClipCache:
        """Open the cache of some clips, making it if it is not there.

        Args:
            videos: folder of video files, or a data set of clips in any layout of
                :func:`upframe.datasets.layouts.open_dataset`; or several of these.
            folder: where caches live; this one gets a folder of its own in it.
            most: frames kept of each clip, from its beginning.
            split: part of the data set; None for its training part, where the layout
                knows parts.

        Raises:
            InputError: if there are no videos or one cannot be decoded.
        """
        files: list[tuple[str, Frames]] = []
        for path in [videos] if isinstance(videos, Path) else videos:
            if find_layout(path) == "pictures":
                raise InputError(
                    f"{path} holds no videos, but single images.",
                    "Put the frames of each clip into a folder of its own.",
                )
            sources = open_training(path, split)
            files += [(clip.name, clip.high) for clip in sources if clip.high]
        state = [(name, frames.size()) for name, frames in files]
        key = hashlib.sha256(repr((_VERSION, most, state)).encode()).hexdigest()
        target = folder / f"clips-{key[:12]}"
        if not (target / "index.json").is_file():
            target.mkdir(parents=True, exist_ok=True)
            for number, (name, frames) in enumerate(files):
                np.save(target / f"{number:04d}.npy", _stack(name, frames.first(most)))
            # Written last and moved into place: it marks a finished cache.
            draft = target / "index.json.part"
            draft.write_text(json.dumps({"names": [name for name, _ in files]}))
            draft.replace(target / "index.json")
        return cls(target)

    def sample(
        self, rng: np.random.Generator, frames: int, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """A random piece, (frames, *size, 3) uint8, sometimes backwards in time.

        Clips that are shorter than ``frames`` run back and forth.

        Raises:
            InputError: if no clip is large enough.
        """
        height, width = size
        fits = [c for c in self.clips if c.shape[1] >= height and c.shape[2] >= width]
        if not fits:
            raise InputError(
                f"No clip is as large as {width}x{height}.", "Use smaller patches."
            )
        clip = fits[int(rng.integers(len(fits)))]
        count = clip.shape[0]
        start = int(rng.integers(max(1, count - frames + 1)))
        at = np.arange(start, start + frames)
        if count > 1:
            period = 2 * count - 2
            at = at % period
            at = np.where(at < count, at, period - at)
        else:
            at[:] = 0
        if rng.random() < 0.5:
            at = at[::-1]
        y = int(rng.integers(clip.shape[1] - height + 1))
        x = int(rng.integers(clip.shape[2] - width + 1))
        return np.stack([clip[t, y : y + height, x : x + width] for t in at])


def _stack(name: str, frames: list[ImageArray]) -> NDArray[np.uint8]:
    """(T, H, W, 3)."""
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise InputError(
            f"The frames of the clip {name} are none or differ in size.",
            "Leave it out.",
        )
    return np.stack(frames)
