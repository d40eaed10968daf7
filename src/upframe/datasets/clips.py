"""Frames of real clips as arrays on disk, and random pieces of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.errors import InputError
from upframe.media.source import FileSource

_VERSION = 1
_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})


class ClipCache:
    """Decoded clips, mapped into memory; made by :meth:`build`."""

    def __init__(self, folder: Path) -> None:
        """Open a finished cache.

        Raises:
            InputError: if the folder holds no finished cache.
        """
        index = folder / "index.json"
        if not index.is_file():
            raise InputError(f"{folder} holds no cache of clips.", "Build it first.")
        self.names: list[str] = json.loads(index.read_text())["names"]
        self.clips = [
            np.load(folder / f"{number:04d}.npy", mmap_mode="r")
            for number in range(len(self.names))
        ]

    @classmethod
    def build(cls, videos: Path, folder: Path, most: int = 64) -> ClipCache:
        """Open the cache of a folder of video files, making it if it is not there.

        Args:
            videos: folder of video files.
            folder: where caches live; this one gets a folder of its own in it.
            most: frames kept of each clip, from its beginning.

        Raises:
            InputError: if there are no videos or one cannot be decoded.
        """
        files = (
            sorted(p for p in videos.iterdir() if p.suffix.lower() in _SUFFIXES)
            if videos.is_dir()
            else []
        )
        if not files:
            raise InputError(
                f"{videos} holds no videos.", "Check the path of the data."
            )
        state = [(f.name, f.stat().st_size) for f in files]
        key = hashlib.sha256(repr((_VERSION, most, state)).encode()).hexdigest()
        target = folder / f"clips-{key[:12]}"
        if not (target / "index.json").is_file():
            target.mkdir(parents=True, exist_ok=True)
            for number, file in enumerate(files):
                np.save(target / f"{number:04d}.npy", _decode(file, most))
            # Written last and moved into place: it marks a finished cache.
            draft = target / "index.json.part"
            draft.write_text(json.dumps({"names": [f.name for f in files]}))
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


def _decode(file: Path, most: int) -> NDArray[np.uint8]:
    """(T, H, W, 3) uint8 of the first frames; deeper files lose their lower bits."""
    source = FileSource(file, deinterlace="off")
    frames = []
    try:
        for frame in source:
            pixels = frame.pixels[..., :3]
            if pixels.dtype == np.uint16:
                pixels = (pixels >> 8).astype(np.uint8)
            frames.append(np.asarray(pixels, np.uint8))
            if len(frames) == most:
                break
    finally:
        source.close()
    return np.stack(frames)
