"""Where a result goes: a video, a folder or pattern of images, or a pipe."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from upframe.errors import OutputExistsError, UsageError
from upframe.media.formats import IMAGE_OUTPUTS, default_suffix
from upframe.media.frames import SourceInfo
from upframe.planning.sizes import TargetSize


@dataclass(frozen=True)
class Destination:
    """An output and how it is written."""

    path: Path | None
    """Final file or folder; None is standard output."""
    kind: str
    """``video``, ``images`` or ``pipe``."""
    suffix: str = ""
    """Of the video or of each image, lower case, with its dot."""
    pattern: str = ""
    """``%``-pattern of the names of images; empty keeps names or numbers them."""

    def check(self, source: Path | None, *, overwrite: bool) -> None:
        """Refuse an output that is the input, or that exists and may not go.

        Raises:
            UsageError: input and output are the same.
            OutputExistsError: it exists, or is a folder that is not empty.
        """
        path = self.path
        if path is None or not path.exists():
            return
        if source is not None and source.exists() and source.samefile(path):
            raise UsageError(
                f"Input and output are the same file, {path}.", "Name another with -o."
            )
        if overwrite:
            return
        if not path.is_dir():
            raise OutputExistsError(
                str(path), f"{path} exists already.", "Add -y to replace it."
            )
        if any(path.iterdir()):
            raise OutputExistsError(
                str(path),
                f"The folder {path} is not empty.",
                "Add -y to write into it.",
            )


def destination(
    source: Path | None,
    wanted: str | Path | None,
    info: SourceInfo,
    target: TargetSize,
    model_scale: int,
) -> Destination:
    """Read what a user names as output; without a name, one beside the input.

    Args:
        source: the input file or folder; None is standard input.
        wanted: a video file, an image, a folder, a pattern, ``-``, or None.
        info: what the input holds.
        target: size of the output.
        model_scale: factor of the model, for the default name.

    Raises:
        UsageError: the name fits no output, or one image is named for many frames.
    """
    if wanted is None:
        assert source is not None
        return _beside(source, info, target, model_scale)
    if str(wanted) == "-":
        return Destination(None, "pipe")
    text = os.fspath(wanted)
    output = Path(text)
    suffix = output.suffix.lower()
    if "%" in output.name:
        one = re.fullmatch(r"[^%]*%0?\d*d[^%]*", output.name)
        if one is None or suffix not in IMAGE_OUTPUTS:
            raise UsageError(
                f"{wanted} is no pattern for images.", "For example: out/%06d.png."
            )
        return Destination(output.parent, "images", suffix, output.stem)
    if text.endswith(("/", os.sep)) or output.is_dir() or not suffix:
        return Destination(output, "images", ".png")
    if suffix not in IMAGE_OUTPUTS:
        return Destination(output, "video", suffix)
    if info.frames > 1:
        raise UsageError(
            f"{wanted} is one image, the input has {info.frames} frames.",
            f"Name a folder, or a pattern such as %06d{suffix}.",
        )
    return Destination(output, "images", suffix)


def _beside(
    source: Path, info: SourceInfo, target: TargetSize, model_scale: int
) -> Destination:
    exact = (target.width, target.height) == (
        info.width * model_scale,
        info.height * model_scale,
    )
    label = f"x{model_scale}" if exact else f"{target.width}x{target.height}"
    if info.still and not source.is_file():
        folder = source if source.is_dir() else source.parent
        name = f"{folder.resolve().name}_{label}"
        return Destination(folder.with_name(name), "images", ".png")
    if info.still or source.suffix.lower() in IMAGE_OUTPUTS:
        name = f"{source.stem}_{label}.png"
        return Destination(source.with_name(name), "images", ".png")
    suffix = default_suffix(source)
    name = f"{source.stem}_{label}{suffix}"
    return Destination(source.with_name(name), "video", suffix)
