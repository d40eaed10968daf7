"""The frames of a test set: where they lie, and the pairs made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.pictures import list_pictures, read_picture
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple
from upframe.errors import InputError
from upframe.evaluation.protocols import Protocol

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True)
class Clip:
    """Where the frames of a clip are, in order."""

    name: str
    high: tuple[Path, ...]
    """Ground truth; empty where there is none."""
    low: tuple[Path, ...]
    """Low-resolution frames; empty where they are to be made from the ground truth."""

    def __len__(self) -> int:
        return len(self.high) or len(self.low)

    def read(self, number: int, scale: int) -> tuple[Picture, Picture | None]:
        """One frame.

        Args:
            number: 0 for the first.
            scale: of the model.

        Returns:
            Low resolution (h, w, 3) and ground truth (scale * h, scale * w, 3), both
            uint8; None without ground truth.

        Raises:
            InputError: a picture cannot be read, or the sizes do not fit together.
        """
        if not self.high:
            return read_picture(self.low[number]), None
        high = crop_to_multiple(read_picture(self.high[number]), scale)
        if 0 in high.shape:
            raise InputError(
                f"{self.high[number]} is smaller than the model's scale {scale}.",
                "Leave it out of the test set.",
            )
        if not self.low:
            return bicubic_down(high, scale), high
        low = read_picture(self.low[number])
        if (low.shape[0] * scale, low.shape[1] * scale) != high.shape[:2]:
            raise InputError(
                f"{self.low[number]} is {low.shape[1]}x{low.shape[0]}, its gt "
                f"{high.shape[1]}x{high.shape[0]}: not the model's scale {scale}.",
                "Use data of this scale, or leave lq away.",
            )
        return low, high


def find_clips(data: Path, rules: Protocol) -> list[Clip]:
    """The clips of a test set that the protocol counts.

    Args:
        data: ``DIR/*.png`` for pictures; ``DIR/gt/<clip>/*.png`` and perhaps
            ``DIR/lq/<clip>/*.png`` for clips, where ``<clip>`` may be several folders
            deep as in Vimeo-90K; without ground truth also ``DIR/<clip>/*.png``.
        rules: the protocol.

    Raises:
        InputError: there are no such files, or they do not fit together.
    """
    if rules.layout == "pictures":
        files = list_pictures(data)
        stems = [file.stem for file in files]
        return [
            Clip(f.stem if stems.count(f.stem) == 1 else f.name, (f,), ())
            for f in files
        ]
    if not rules.has_truth:
        folder = data / "lq" if (data / "lq").is_dir() else data
        return [Clip(name, (), files) for name, files in _folders(folder).items()]
    truth = data / "gt"
    if not truth.is_dir():
        raise InputError(
            f"{data} has no folder gt.", "Put the clips in DIR/gt/<clip>/*.png."
        )
    high = _folders(truth)
    names = [name for name in high if not rules.clips or name in rules.clips]
    if not names:
        raise InputError(
            f"{truth} holds none of the clips of {rules.name}.",
            f"They are: {', '.join(rules.clips)}.",
        )
    low = _folders(data / "lq") if (data / "lq").is_dir() else {}
    for name in names:
        if name in low and len(low[name]) != len(high[name]):
            raise InputError(
                f"Clip {name} has {len(high[name])} frames in gt and "
                f"{len(low[name])} in lq.",
                "Both must hold the same frames.",
            )
    return [Clip(name, high[name], low.get(name, ())) for name in names]


def missing_clips(clips: Sequence[Clip], rules: Protocol) -> list[str]:
    """Clips of the published set that are not there."""
    present = {clip.name for clip in clips}
    return [name for name in rules.clips if name not in present]


def _folders(root: Path) -> dict[str, tuple[Path, ...]]:
    """Pictures by the folder they lie in, named by its path below ``root``."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder.", "Check the path of the data.")
    found: dict[str, tuple[Path, ...]] = {}
    for folder in sorted(path for path in (root, *root.rglob("*")) if path.is_dir()):
        try:
            files = list_pictures(folder)
        except InputError:
            continue
        name = folder.relative_to(root).as_posix()
        found[root.name if name == "." else name] = tuple(files)
    if not found:
        raise InputError(f"{root} holds no clips.", f"Put them in {root}/<clip>/*.png.")
    return found
