"""Clips whose frames are read when they are asked for, from wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from upframe.datasets.images import ImageArray, read_image
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple
from upframe.errors import InputError


class Frames(Protocol):
    """The frames of a clip, in order; ``frames[0]`` reads the first.

    Raises:
        InputError: from reading, when a frame is missing or damaged.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> ImageArray: ...

    def name(self, number: int) -> str:
        """Name of a frame inside its clip."""
        ...

    def first(self, most: int) -> list[ImageArray]:
        """The first frames, at most so many."""
        ...

    def size(self) -> int:
        """Bytes that they take where they lie, to tell one clip from another."""
        ...

    def where(self, number: int) -> str:
        """Where it lies, for messages."""
        ...


@dataclass(frozen=True)
class FileFrames:
    """An image file for every frame."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> ImageArray:
        return read_image(self.paths[number])

    def name(self, number: int) -> str:
        """Name of the file."""
        return self.paths[number].name

    def first(self, most: int) -> list[ImageArray]:
        """The first frames, at most so many."""
        return [read_image(path) for path in self.paths[:most]]

    def size(self) -> int:
        """Of the files."""
        return sum(path.stat().st_size for path in self.paths)

    def where(self, number: int) -> str:
        """Path of the file."""
        return str(self.paths[number])


class VideoFrames:
    """Frames of a video file, decoded in order.

    A frame further on is reached by decoding those before it, an earlier one by
    starting again: read them in order. Deeper pixels lose their lower bits, alpha is
    dropped, and fields are not taken apart.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decoder: Iterator[ImageArray] = iter(())
        self._next = 0

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        from upframe.media.index import scan  # all else works without PyAV

        return scan(self.path).packets

    def __getitem__(self, number: int) -> ImageArray:
        if not 0 <= number < self._count:
            raise IndexError(number)
        if number < self._next or self._next == 0:
            self._decoder, self._next = self._decode(), 0
        image: ImageArray | None = None
        while self._next <= number:
            image = next(self._decoder, None)
            if image is None:
                raise InputError(
                    f"{self.path} has {self._next} frames that can be decoded, of "
                    f"{self._count}.",
                    "Check that the file is complete.",
                )
            self._next += 1
        assert image is not None
        return image

    def _decode(self) -> Iterator[ImageArray]:
        from upframe.media.source import FileSource

        source = FileSource(self.path, deinterlace="off")
        try:
            for frame in source:
                pixels = frame.pixels[..., :3]
                if pixels.dtype == np.uint16:
                    pixels = (pixels >> 8).astype(np.uint8)
                yield np.asarray(pixels, np.uint8)
        finally:
            source.close()

    def name(self, number: int) -> str:
        """Number of the frame."""
        return str(number)

    def first(self, most: int) -> list[ImageArray]:
        """The first frames that can be decoded, at most so many."""
        return list(islice(self._decode(), most))

    def size(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    def where(self, number: int) -> str:
        """Path of the file, and the frame."""
        return f"frame {number} of {self.path}"


@dataclass(frozen=True)
class Clip:
    """A clip of a data set: its ground truth, its low-resolution side, or both."""

    name: str
    high: Frames | None
    """Ground truth; None where there is none."""
    low: Frames | None = None
    """Low-resolution frames; None where they are to be made from the ground truth."""

    def __len__(self) -> int:
        return len(self._frames)

    def where(self, number: int) -> str:
        """Where a frame lies, for messages."""
        return self._frames.where(number)

    @property
    def _frames(self) -> Frames:
        frames = self.low if self.high is None else self.high
        assert frames is not None
        return frames

    def read(self, number: int, scale: int) -> tuple[ImageArray, ImageArray | None]:
        """One frame with both sides.

        Args:
            number: 0 for the first.
            scale: of the model.

        Returns:
            Low resolution (h, w, 3) and ground truth (scale * h, scale * w, 3), both
            uint8; None without ground truth. Where there is no low resolution it is
            made by MATLAB's bicubic from the ground truth, cropped to a multiple.

        Raises:
            InputError: an image cannot be read, or the sizes do not fit together.
        """
        if self.high is None:
            return self._frames[number], None
        high = self.truth(number, scale)
        if self.low is None:
            return bicubic_down(high, scale), high
        low = self.low[number]
        if (low.shape[0] * scale, low.shape[1] * scale) != high.shape[:2]:
            raise InputError(
                f"{self.low.where(number)} is {low.shape[1]}x{low.shape[0]}, its gt "
                f"{high.shape[1]}x{high.shape[0]}: not the model's scale {scale}.",
                "Use data of this scale, or leave lq away.",
            )
        return low, high

    def truth(self, number: int, scale: int) -> ImageArray:
        """The ground truth of one frame alone, as from :meth:`read`."""
        assert self.high is not None
        high = crop_to_multiple(self.high[number], scale)
        if 0 in high.shape:
            raise InputError(
                f"{self.high.where(number)} is smaller than the model's scale {scale}.",
                "Leave it out of the test set.",
            )
        return high
