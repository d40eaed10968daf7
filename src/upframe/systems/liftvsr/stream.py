"""LiftVSR on videos of any length, in memory that does not grow, to be continued later.

Frames are gathered to segments; the cache goes from each to the next, and is forgotten
at a cut. What a session holds can be taken out as plain tensors and given to another
one, which goes on to the bit as the first would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from upframe.errors import UsageError
from upframe.systems.liftvsr.model import LiftVSR
from upframe.systems.liftvsr.transformer import Cache


@dataclass(frozen=True)
class Options:
    """What the noise of a video depends on."""

    seed: int = 0
    first_index: int = 0
    """Number of the first frame in the video."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64 or self.first_index < 0:
            raise UsageError(
                f"A seed of {self.seed} or a first frame {self.first_index} cannot be.",
                "Give a seed from 0 to 2**64 - 1, and frames from 0 on.",
            )


class Session:
    """Restores one video, frame after frame.

    Args:
        model: the system, in eval mode, where it is to run.
        options: of the noise.
    """

    def __init__(self, model: LiftVSR, options: Options | None = None) -> None:
        self._model = model
        self._options = options or Options()
        self._index = self._options.first_index  # of the first frame that waits
        self._waiting: tuple[Tensor, ...] = ()  # (1, 3, h, w), less than a segment
        self._cache: Cache = ()
        self._size: tuple[int, int] | None = None  # (h, w) of what is pushed

    @torch.no_grad()
    def push(self, frames: Tensor, *, cut: bool = False) -> list[Tensor]:
        """Give the next frames.

        Args:
            frames: (n, 3, h, w), RGB in [0, 1]; all pushes of the same size.
            cut: whether the first of them begins a new scene.

        Returns:
            The next finished frames, (3, scale · h, scale · w) in [0, 1], float32, on
            the CPU; maybe none.

        Raises:
            UsageError: the frames are of another shape.
            RuntimeFailure: a network gave something that is no number.
        """
        self._check(frames)
        finished = self._forget() if cut else []
        self._waiting += torch.split(frames.float().cpu(), 1)
        length = self._model.config.segment
        while len(self._waiting) >= length:
            finished += self._restore(length)
        return finished

    @torch.no_grad()
    def flush(self) -> list[Tensor]:
        """End of the video; returns the frames that are owed, maybe none."""
        self._size = None
        return self._forget()

    def state(self) -> dict[str, Tensor]:
        """All that the session knows, on the CPU.

        ``index`` is the number of the first frame that waits, ``waiting`` (n, 3, h, w)
        are those frames, ``cache.N`` is the cache of branch N. Its size is bounded:
        less than a segment of frames and one cache.
        """
        size = self._size or (0, 0)
        waiting = (
            torch.cat(self._waiting) if self._waiting else torch.empty(0, 3, *size)
        )
        held = {f"cache.{n}": tokens.cpu() for n, tokens in enumerate(self._cache)}
        return {"index": torch.tensor(self._index), "waiting": waiting, **held}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on where another session was when it gave this state.

        The same model and seed belong to it; only shapes can be checked here.

        Raises:
            UsageError: it is the state of another model.
        """
        transformer = self._model.transformer
        count = len(transformer.branches) if transformer.memory else 0
        names = [f"cache.{n}" for n in range(count)]
        expected = {"index", "waiting"}
        if set(state) not in (expected, expected | set(names)):
            raise UsageError(
                f"The state does not belong to a model of {count} caches.",
                "Continue with the model that the run began with.",
            )
        height, width = state["waiting"].shape[-2:]
        scale = self._model.scale
        tokens = 0
        if height:
            tokens = self._model.cached_tokens(height * scale, width * scale)
        cache = tuple(state[name] for name in names if name in state)
        shape = (1, tokens, transformer.pixart.inner_dim)
        if any(held.shape != shape for held in cache):
            raise UsageError(
                f"The state's caches are not {shape}, as frames of {width}x{height} "
                "need them.",
                "Continue with the model that the run began with.",
            )
        self._index = int(state["index"])
        self._waiting = (
            torch.split(state["waiting"], 1) if len(state["waiting"]) else ()
        )
        self._size = (height, width) if height else None
        home = transformer.condition.weight.device
        # a copy: memory of a file may be laid out so that sums are rounded otherwise
        self._cache = tuple(held.to(home, copy=True) for held in cache)

    def _check(self, frames: Tensor) -> None:
        if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
            raise UsageError(
                f"A tensor of {tuple(frames.shape)} is no frames.",
                "Give (n, 3, h, w).",
            )
        size = (frames.shape[-2], frames.shape[-1])
        if self._size not in (None, size):
            raise UsageError(
                f"A frame is {size}, the first was {self._size}.",
                "All frames of a video have one size.",
            )
        self._size = size

    def _forget(self) -> list[Tensor]:
        """Restore what waits, then drop the cache."""
        finished = self._restore(len(self._waiting)) if self._waiting else []
        self._cache = ()
        return finished

    def _restore(self, count: int) -> list[Tensor]:
        """Restore the first frames that wait as one segment."""
        home = self._model.transformer.condition.weight.device
        frames = torch.cat(self._waiting[:count])[None].to(home)
        out, self._cache = self._model.restore(
            frames, self._cache, seed=self._options.seed, first_index=self._index
        )
        self._waiting = self._waiting[count:]
        self._index += count
        return list(out[0].cpu().unbind())
