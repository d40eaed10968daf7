"""Choosing, from clips, which heads of an OASIS model attend globally and which not.

Importing this module needs the extra ``[diffusion]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from upframe.datasets.frames import Clip
from upframe.datasets.layouts import open_footage
from upframe.errors import UsageError
from upframe.runtimes.torch import place
from upframe.systems.oasis.attention import architecture, attention_weights, measure
from upframe.systems.oasis.head_routing import (
    Calibration,
    Routing,
    choose_heads,
    threshold_for,
)
from upframe.systems.oasis.model import OASIS
from upframe.systems.oasis.routed_attention import check_window
from upframe.weights.index import list_models
from upframe.weights.loading import load

THRESHOLD = 0.25
"""Nats: 78% of the attention inside the pattern."""


def calibrate(
    model: str | Path,
    data: Path,
    *,
    window: Sequence[int] = (3, 9, 9),
    threshold: float | None = None,
    local_share: float | None = None,
    frames: int = 33,
    patch: int | None = None,
    queries: int = 1024,
    device: str = "cpu",
    threads: int | None = None,
    commit: str | None = None,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Routing:
    """Measure every head's attention on clips, and route it.

    Args:
        model: folder or hub id of an OASIS model; or a weight file of a small one, or
            its name.
        data: low-resolution clips as the model will get them: a video, or a folder of
            clips.
        window: tokens: frames, height, width; odd.
        threshold: largest divergence in nats of a head that does not stay global;
            None for `THRESHOLD`.
        local_share: share of heads that become local, instead of a threshold.
        frames: the first of each clip.
        patch: side in pixels of the square in the middle of the frames that is looked
            at; None for whole frames. Attention of a model that was trained on patches
            is spread thin over more tokens than it has ever seen.
        queries: tokens of each clip whose attention is measured in each layer.
        device: cpu or cuda[:N].
        threads: of the CPU; None for all cores.
        commit: of a hub id; see `upframe.systems.diffusion.components.find_folder`.
        offline: no network.
        progress: gets a line for each clip.

    Returns:
        The routing, with what was measured.

    Raises:
        UsageError: numbers that make no sense; a model of another system.
        InputError: there are no clips, or they cannot be read.
        WeightsError: the model is missing or damaged.
    """
    _check(threshold, local_share, frames, patch, queries)
    span = check_window(window)
    clips = open_footage(data)
    where = place(device, threads)
    system = _open(model, commit, offline).to(where)
    with torch.inference_mode(), measure(system.transformer, span, queries) as found:
        for number, clip in enumerate(clips, 1):
            if progress is not None:
                progress(f"{number}/{len(clips)} {clip.name}")
            frames_of_clip = _read(clip, frames, system.scale)
            system.latents(_middle(frames_of_clip, patch).to(where))
    divergences = found.mean()
    if local_share is not None:
        limit = threshold_for(divergences, local_share)
    else:
        limit = THRESHOLD if threshold is None else threshold
    return Routing(
        architecture=architecture(system.transformer),
        window=span,
        layers=choose_heads(divergences, limit),
        calibration=Calibration(
            weights=attention_weights(system.transformer),
            clips=tuple(clip.name for clip in clips),
            tokens=found.largest,
            queries=queries,
            threshold=limit,
        ),
    )


def _check(
    threshold: float | None,
    local_share: float | None,
    frames: int,
    patch: int | None,
    queries: int,
) -> None:
    """Raise UsageError for options that contradict each other or measure nothing."""
    if threshold is not None and local_share is not None:
        raise UsageError(
            "Heads are chosen by a threshold or by a share, not by both.",
            "Leave one away.",
        )
    if min(frames, queries, 1 if patch is None else patch) < 1:
        raise UsageError(
            f"{frames} frames of {patch or 'all'} pixels and {queries} queries measure "
            "nothing.",
            "Give at least one of each.",
        )


def _open(model: str | Path, commit: str | None, offline: bool) -> OASIS:
    named = any(card.name == str(model) for card in list_models())
    if not named and not Path(model).is_file():
        return OASIS.from_pretrained(model, commit=commit, offline=offline)
    network = load(model)
    if not isinstance(network, OASIS):
        raise UsageError(
            f"{model} is a {type(network).__name__}, whose heads are not routed.",
            "Name an OASIS model.",
        )
    return network


def _middle(frames: torch.Tensor, side: int | None) -> torch.Tensor:
    """A square of (..., h, w), or what there is of it."""
    if side is None:
        return frames
    height, width = frames.shape[-2:]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    return frames[..., top : top + side, left : left + side]


def _read(clip: Clip, most: int, scale: int) -> torch.Tensor:
    """(1, T, 3, h, w) in [0, 1]."""
    count = min(most, len(clip))
    frames = np.stack([clip.read(i, scale)[0] for i in range(count)])
    return torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 255
