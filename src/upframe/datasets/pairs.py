"""High- and low-resolution images in two flat files, ready for random patches.

Decoding AVIF or PNG for every patch starves a small machine. The cache holds raw uint8
pixels that are mapped into memory, so a patch costs one small copy. The low-resolution
side is made from whole images, not from patches: patches would carry edges that whole
images do not have. A random degradation cannot be kept: it is made anew from each
high-resolution patch, and the cached low-resolution side stays bicubic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.frames import Frames
from upframe.datasets.images import ImageArray
from upframe.datasets.layouts import Split, open_training
from upframe.degradations.bicubic import crop_to_multiple
from upframe.degradations.ranges import BIConfig
from upframe.degradations.registry import AnyDegradation, RandomConfig, degrade
from upframe.errors import InputError

_VERSION = 1


@dataclass(frozen=True)
class Pair:
    """Where one image lies in the two files; sizes of the low-resolution side."""

    name: str
    height: int
    width: int
    offset: int
    """Pixels of low-resolution images before this one."""


class PairCache:
    """Aligned images of one scale; made by :meth:`build`, read by :meth:`sample`."""

    def __init__(self, folder: Path, fresh: RandomConfig | None = None) -> None:
        """Open a finished cache.

        Args:
            folder: of the cache.
            fresh: degrade every patch anew instead of taking the cached side.

        Raises:
            InputError: if the folder holds no finished cache.
        """
        self.folder = folder
        self._fresh = fresh
        index = folder / "index.json"
        if not index.is_file():
            raise InputError(f"{folder} holds no cache of pairs.", "Build it first.")
        content = json.loads(index.read_text())
        self.scale: int = content["scale"]
        self.pairs = [Pair(**pair) for pair in content["pairs"]]
        self._low = np.memmap(folder / "low.bin", np.uint8, "r")
        self._high = np.memmap(folder / "high.bin", np.uint8, "r")
        pixels = np.array([p.height * p.width for p in self.pairs], dtype=np.float64)
        # Every pixel of the collection is equally likely to be trained on.
        self._odds = np.cumsum(pixels / pixels.sum())

    @classmethod
    def build(
        cls,
        images: Path | Sequence[Path],
        folder: Path,
        scale: int,
        least: int,
        degradation: AnyDegradation | None = None,
        *,
        split: Split | None = None,
    ) -> PairCache:
        """Open the cache of some images, making it if it is not there.

        Args:
            images: folder of image files, or a data set in any layout of
                :func:`upframe.datasets.layouts.open_dataset`: all frames of its
                high-resolution side; or several of these.
            folder: where caches live; the cache gets a folder of its own in it, named
                by content, so that other images or scales do not mix.
            scale: integer factor of the degradation.
            least: images whose low-resolution side is smaller are left out.
            degradation: bicubic when None.
            split: part of the data set; None for its training part, where the layout
                knows parts.

        Raises:
            InputError: if no image is large enough or one cannot be read.
        """
        sources = [
            (clip.name if len(clip) > 1 else clip.high.name(0), clip.high)
            for path in ([images] if isinstance(images, Path) else images)
            for clip in open_training(path, split)
            if clip.high is not None
        ]
        state = [(name, frames.size()) for name, frames in sources]
        fresh = degradation if isinstance(degradation, RandomConfig) else None
        kept = BIConfig() if degradation is None or fresh else degradation
        what: tuple[object, ...] = (_VERSION, scale, least, state)
        if not isinstance(kept, BIConfig):
            what += (kept.name,)
        key = hashlib.sha256(repr(what).encode()).hexdigest()
        target = folder / f"pairs-x{scale}-{key[:12]}"
        if not (target / "index.json").is_file():
            target.mkdir(parents=True, exist_ok=True)
            cls._write(sources, target, scale, least, kept)
        return cls(target, fresh)

    @staticmethod
    def _write(
        sources: list[tuple[str, Frames]],
        target: Path,
        scale: int,
        least: int,
        degradation: AnyDegradation,
    ) -> None:
        pairs: list[Pair] = []
        offset = 0
        with (
            (target / "low.bin").open("wb") as low,
            (target / "high.bin").open("wb") as high,
        ):
            for name, image in _images(sources):
                large = crop_to_multiple(image, scale)
                if min(large.shape[:2]) < least * scale:
                    continue
                # Random degradations do not come here, so no random state is needed.
                rng = np.random.default_rng(0)
                small = degrade(degradation, large[None], scale, rng)[0]
                low.write(small.tobytes())
                high.write(large.tobytes())
                height, width = small.shape[:2]
                pairs.append(Pair(name, height, width, offset))
                offset += height * width
        if not pairs:
            raise InputError(
                f"No image of {sources[0][1].where(0)} and after it is large enough "
                "for patches.",
                f"They need at least {least * scale} pixels per side.",
            )
        content = {"scale": scale, "pairs": [vars(pair) for pair in pairs]}
        # The index is written last and moved into place: it marks a finished cache.
        draft = target / "index.json.part"
        draft.write_text(json.dumps(content))
        draft.replace(target / "index.json")

    def image(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Low- and high-resolution image, views (h, w, 3) and (s*h, s*w, 3)."""
        pair, s = self.pairs[number], self.scale
        size = pair.height * pair.width * 3
        low = self._low[pair.offset * 3 :][:size]
        high = self._high[pair.offset * 3 * s * s :][: size * s * s]
        return (
            low.reshape(pair.height, pair.width, 3),
            high.reshape(pair.height * s, pair.width * s, 3),
        )

    def sample(
        self, rng: np.random.Generator, batch: int, patch: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Random aligned patches, flipped and turned at random.

        Args:
            rng: the only random state; the same state gives the same patches.
            batch: patches.
            patch: side of the low-resolution patch, in pixels.

        Returns:
            Low (batch, patch, patch, 3) and high (batch, s*patch, s*patch, 3), uint8.
        """
        s = self.scale
        low = np.empty((batch, patch, patch, 3), np.uint8)
        high = np.empty((batch, patch * s, patch * s, 3), np.uint8)
        for i in range(batch):
            number = int(np.searchsorted(self._odds, rng.random(), side="right"))
            small, large = self.image(min(number, len(self.pairs) - 1))
            y = int(rng.integers(small.shape[0] - patch + 1))
            x = int(rng.integers(small.shape[1] - patch + 1))
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            for out, source, k in ((low, small, 1), (high, large, s)):
                cut = source[y * k : (y + patch) * k, x * k : (x + patch) * k]
                cut = np.rot90(cut, turns)
                out[i] = cut[:, ::-1] if flip else cut
            if self._fresh is not None:
                low[i] = degrade(self._fresh, high[i][None], s, rng)[0]
        return low, high


def _images(sources: list[tuple[str, Frames]]) -> Iterator[tuple[str, ImageArray]]:
    """All frames, named."""
    for name, frames in sources:
        if len(frames) == 1:
            yield name, frames[0]
            continue
        for number in range(len(frames)):
            yield f"{name}/{frames.name(number)}", frames[number]
