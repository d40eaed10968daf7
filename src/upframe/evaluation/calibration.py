"""Choosing, from clips, which heads of an OASIS model attend globally and which not.

Importing this module needs the extra ``[diffusion]``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from upframe.datasets.frames import Clip
from upframe.datasets.layouts import open_footage
from upframe.engine.declaring import documented
from upframe.errors import UsageError
from upframe.evaluation.options import CalibrateKeywords, CalibrateOptions
from upframe.runtimes.torch import configure_device
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


@documented(CalibrateOptions, CalibrateKeywords)
def calibrate(
    model: str | Path,
    data: Path,
    *,
    progress: Callable[[str], None] | None = None,
    **options: Unpack[CalibrateKeywords],
) -> Routing:
    """Measure every head's attention on clips, and route it.

    Args:
        model: folder or hub id of an OASIS model; or a weight file of a small one, or
            its name.
        data: low-resolution clips as the model will get them: a video, or a folder of
            clips.
        {options}
        progress: called with a line for each clip.

    Returns:
        The routing, with what was measured.

    Raises:
        UsageError: an option is invalid; a model of another system.
        InputError: there are no clips, or they cannot be read.
        WeightsError: the model is missing or damaged.
    """
    chosen = CalibrateOptions.from_keywords(options, caller="calibrate")
    return run_calibration(model, data, chosen, progress)


def run_calibration(
    model: str | Path,
    data: Path,
    options: CalibrateOptions,
    progress: Callable[[str], None] | None = None,
) -> Routing:
    """The same from checked options."""
    if options.threshold is not None and options.local_share is not None:
        raise UsageError(
            "Heads are chosen by a threshold or by a share, not by both.",
            "Leave one out.",
        )
    span = check_window(options.window)
    clips = open_footage(data)
    where = configure_device(options.device, options.threads)
    system = _open(model, options.commit, options.offline).to(where)
    queries = options.queries
    with torch.inference_mode(), measure(system.transformer, span, queries) as found:
        for number, clip in enumerate(clips, 1):
            if progress is not None:
                progress(f"{number}/{len(clips)} {clip.name}")
            frames = _read(clip, options.frames, system.scale)
            system.latents(_middle(frames, options.patch).to(where))
    divergences = found.mean()
    if options.local_share is not None:
        limit = threshold_for(divergences, options.local_share)
    else:
        limit = THRESHOLD if options.threshold is None else options.threshold
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
