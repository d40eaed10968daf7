"""Clips as OASIS takes them in: frames to latent frames, and those in chunks.

Part of `upframe.systems.oasis`, whose header says what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import UsageError


@dataclass(frozen=True)
class Chunking:
    """How a long clip is cut, in latent frames.

    Raises:
        UsageError: the numbers leave no frame of a chunk to itself.
    """

    length: int = 9
    """Of a chunk; 9 are 33 frames of Wan."""
    context: int = 1
    """Thrown away on either side of a cut."""
    blend: int = 2
    """Faded from a chunk into the next."""

    def __post_init__(self) -> None:
        if min(self.context, self.blend) < 0 or self.length <= 2 * (
            self.context + self.blend
        ):
            raise UsageError(
                f"Chunks of {self.length} latent frames cannot overlap by "
                f"2 x {self.context} + {self.blend}.",
                "Make chunks longer than twice context and blend together.",
            )


def frame_groups(
    frames: Iterable[Tensor], temporal: int
) -> Iterator[tuple[Tensor, int]]:
    """The frames of each latent, as a causal autoencoder groups them.

    The first stands alone and is repeated; a last group that is not full repeats its
    last frame.

    Args:
        frames: (B, 3, h, w) each.
        temporal: frames of a group.

    Yields:
        (B, temporal, 3, h, w), and how many of the decoded frames are to be shown.

    Raises:
        UsageError: a frame has another shape than the first.
    """
    group: list[Tensor] = []
    shape: torch.Size | None = None
    for frame in frames:
        if shape is None:
            shape = frame.shape
            yield torch.stack([frame] * temporal, dim=1), 1
            continue
        if frame.shape != shape:
            raise UsageError(
                f"A frame is {tuple(frame.shape)}, the first was {tuple(shape)}.",
                "All frames of a clip have one size.",
            )
        group.append(frame)
        if len(group) == temporal:
            yield torch.stack(group, dim=1), temporal
            group = []
    if group:
        full = [*group, *[group[-1]] * (temporal - len(group))]
        yield torch.stack(full, dim=1), len(group)


def unshuffled(
    frames: Iterable[Tensor], temporal: int, factor: int, patch: Sequence[int]
) -> Iterator[tuple[Tensor, int]]:
    """Frames and pixels of each latent as channels.

    Args:
        frames: (B, 3, h, w) each, in [0, 1].
        temporal: frames of a latent.
        factor: pixels of a latent along each side.
        patch: latents of a token along height and width; both sides are filled up to
            whole tokens by the last row and column.

    Yields:
        (B, temporal * 3 * factor², 1, h', w') in [-1, 1], and how many of the decoded
        frames are to be shown.

    Raises:
        UsageError: a frame has another shape than the first.
    """
    multiples = [factor * side for side in patch]
    for group, real in frame_groups(frames, temporal):
        whole = _fill(group, multiples).flatten(1, 2)
        yield F.pixel_unshuffle(whole, factor)[:, :, None] * 2 - 1, real


def _fill(group: Tensor, multiples: Sequence[int]) -> Tensor:
    """Repeat the last row and column until height and width are multiples."""
    down, right = (
        -side % multiple
        for side, multiple in zip(group.shape[-2:], multiples, strict=True)
    )
    return F.pad(group, (0, right, 0, down, 0, 0), mode="replicate")


def in_chunks(
    inputs: Iterator[Tensor], cut: Chunking, predict: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Latents one by one, of chunks that overlap by 2 * context + blend.

    Args:
        inputs: (B, C, 1, h, w) each.
        cut: how they are cut.
        predict: (B, C, L, h, w), the inputs of a chunk, to its latents
            (B, C', L, h, w).

    Yields:
        (B, C', 1, h, w) for each input.
    """
    held: list[Tensor] = []
    tail: Tensor | None = None
    while True:
        held += islice(inputs, cut.length + 1 - len(held))
        last = len(held) <= cut.length
        chunk = predict(torch.cat(held[: cut.length], dim=2))
        if tail is not None:
            chunk = chunk[:, :, cut.context :]
            chunk = torch.cat(
                (_fade(tail, chunk[:, :, : cut.blend]), chunk[:, :, cut.blend :]), 2
            )
        if last:
            yield from _each(chunk)
            return
        chunk = chunk[:, :, : chunk.shape[2] - cut.context]
        keep = chunk.shape[2] - cut.blend
        yield from _each(chunk[:, :, :keep])
        tail = chunk[:, :, keep:]
        del held[: cut.length - 2 * cut.context - cut.blend]


def _each(latents: Tensor) -> Iterator[Tensor]:
    """(B, C, L, h, w) to L of (B, C, 1, h, w)."""
    return (latents[:, :, i : i + 1] for i in range(latents.shape[2]))


def _fade(before: Tensor, after: Tensor) -> Tensor:
    """From one to the other over the third axis."""
    count = before.shape[2]
    share = torch.arange(1, count + 1, device=before.device) / (count + 1)
    return torch.lerp(before, after, share.view(1, 1, -1, 1, 1).to(before))
