"""The clips of a test set that a protocol counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upframe.datasets.frames import Clip
from upframe.datasets.layouts import (
    Layout,
    Split,
    find_layout,
    open_dataset,
    open_footage,
)
from upframe.datasets.lmdb_store import is_lmdb
from upframe.errors import InputError
from upframe.evaluation.protocols import Protocol


def find_clips(
    data: Path, rules: Protocol, *, low: Path | None = None, meta: Path | None = None
) -> tuple[Clip, ...]:
    """The clips of a test set that the protocol counts.

    Args:
        data: in a layout of :func:`upframe.datasets.layouts.open_dataset`: images for
            ``sisr``; ``gt`` and ``lq``, REDS, Vimeo-90K or an LMDB for clips; without
            ground truth also ``lq`` alone, clips, videos, or one video.
        rules: the protocol.
        low: where the low-resolution side is, if not in ``data``.
        meta: file that names the clips that count.

    Raises:
        InputError: there are no such files, or they do not fit together.
    """
    if not rules.has_truth:
        return open_footage(data)
    if rules.layout == "images":
        kind: Layout = "lmdb" if is_lmdb(data) else "pictures"
        return open_dataset(data, kind, low=low, meta=meta)
    layout = find_layout(data)
    if layout in ("folders", "videos", "pictures"):
        raise InputError(
            f"{data} has no folder gt.", "Put the clips in DIR/gt/<clip>/*.png."
        )
    split: Split = "val" if layout in ("reds", "vimeo90k") else "all"
    clips = open_dataset(data, layout, split=split, low=low, meta=meta)
    if rules.clips:
        clips = tuple(clip for clip in clips if clip.name in rules.clips)
    if not clips:
        raise InputError(
            f"{data} holds none of the clips of {rules.name}.",
            f"They are: {', '.join(rules.clips)}.",
        )
    return clips


def missing_clips(clips: Sequence[Clip], rules: Protocol) -> list[str]:
    """Clips of the published set that are not there."""
    present = {clip.name for clip in clips}
    return [name for name in rules.clips if name not in present]
