"""Pictures of what a masked model computed, one for each frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upframe.engine.stepper import as_float, quantise
from upframe.media.frames import Frame
from upframe.media.images import ImageEncoder
from upframe.runtimes.base import Marks
from upframe.runtimes.recurrent import WINDOW

_TINT = np.array((1.0, 0.45, 0.0), np.float32)


class MaskPictures:
    """Writes ``mask-000000.png``, ...: the frame in grey, orange where it was computed.

    The more groups computed a window, the stronger the colour.

    Args:
        folder: is made if it is not there; pictures of the same names are replaced.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._work = folder, folder / ".unfinished"
        # an encoder of pictures empties its folder
        self._encoder = ImageEncoder(self._work, ".png", deep=False, alpha=False)

    def __call__(self, number: int, frame: Frame, marks: Marks) -> None:
        """Write one picture.

        Args:
            number: of the frame in the video.
            frame: as it was decoded.
            marks: (1 + groups, h/8, w/8) of the session; 1 where computed.
        """
        grey = as_float(frame.pixels).mean(axis=2, keepdims=True)
        height, width = grey.shape[:2]
        shares = marks[1:].mean(axis=0).repeat(WINDOW, 0).repeat(WINDOW, 1)
        share = 0.6 * shares[:height, :width, None]
        picture = (1 - share) * grey + share * _TINT
        name = f"mask-{number:06d}"
        self._encoder.write(quantise(picture, deep=False), name)
        (self._work / f"{name}.png").replace(self._folder / f"{name}.png")

    def close(self) -> None:
        """Nothing is written after this."""
        self._encoder.abort()
