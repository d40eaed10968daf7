"""Images of what a masked model computed, one for each frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from upframe.engine.convert import Result, as_float, quantise
from upframe.engine.driver import Output
from upframe.media.frames import Frame
from upframe.media.images import ImageEncoder
from upframe.runtimes.recurrent import WINDOW

_TINT = np.array((1.0, 0.45, 0.0), np.float32)


class MaskImages:
    """Writes ``mask-000000.png``, ...: the frame in grey, orange where it was computed.

    The more groups computed a window, the stronger the colour.

    Args:
        folder: is made if it is not there; images of the same names are replaced.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._work = folder, folder / ".unfinished"
        # an encoder of images empties its folder
        self._encoder = ImageEncoder(self._work, ".png", deep=False, alpha=False)

    def before(
        self, convert: Callable[[Output[Frame]], Result]
    ) -> Callable[[Output[Frame]], Result]:
        """A function that writes the masks of an output and then converts it."""

        def both(output: Output[Frame]) -> Result:
            self.write(output)
            return convert(output)

        return both

    def write(self, output: Output[Frame]) -> None:
        """Write one image of an output that carries masks."""
        assert output.masks is not None
        grey = as_float(output.frame.pixels).mean(axis=2, keepdims=True)
        height, width = grey.shape[:2]
        shares = output.masks[1:].mean(axis=0).repeat(WINDOW, 0).repeat(WINDOW, 1)
        share = 0.6 * shares[:height, :width, None]
        image = (1 - share) * grey + share * _TINT
        name = f"mask-{output.number:06d}"
        self._encoder.write(quantise(image, deep=False), name)
        (self._work / f"{name}.png").replace(self._folder / f"{name}.png")

    def close(self) -> None:
        """Nothing is written after this."""
        self._encoder.abort()
