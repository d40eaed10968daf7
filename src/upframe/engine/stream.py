"""``upframe.Upscaler``: frames in, frames out, for programs with their own frames."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import Unpack

import numpy as np

from upframe.engine.convert import Converter, frame_to_float
from upframe.engine.declaring import documented, insert_docs
from upframe.engine.driver import Driver, Output, SceneChunker
from upframe.engine.models import resolve_model
from upframe.engine.options import AnyPath, StreamKeywords, StreamOptions
from upframe.errors import InputError, UsageError
from upframe.media.colour import Pixels
from upframe.media.frames import Frame
from upframe.planning.chunks import Event
from upframe.planning.lengths import DEFAULT_CHUNK_LENGTH, longest_chunk
from upframe.planning.memory import choose_tile
from upframe.planning.sizes import resolve_size
from upframe.planning.tiles import plan_tiles
from upframe.runtimes.devices import available_memory
from upframe.runtimes.registry import open_runtime
from upframe.runtimes.tiling import sessions


class Upscaler:
    """Upscales frames one by one; memory does not grow with their number.

    Scene cuts are found on the way, so that temporal models never mix scenes. ::

        with upframe.Upscaler(preset="fast") as upscaler:
            for frame in frames:
                for upscaled in upscaler.push(frame):
                    show(upscaled)
            for upscaled in upscaler.flush():
                show(upscaled)

    Args:
        {options}

    Raises:
        UpframeError: an option is invalid, or the model cannot be loaded.
    """

    @documented(StreamOptions, StreamKeywords, skip=("preset", "model"))
    def __init__(
        self,
        preset: str = "balanced",
        model: AnyPath | None = None,
        **options: Unpack[StreamKeywords],
    ) -> None:
        chosen = StreamOptions.from_keywords(
            {"preset": preset, "model": model, **options}, caller="Upscaler"
        )
        model_ = resolve_model(chosen.preset, chosen.model)
        self.card = model_.card
        self._options = chosen
        self._runtime = open_runtime(
            model_.card,
            model_.files,
            runtime=chosen.runtime,
            precision=chosen.precision,
            device=chosen.device,
            threads=chosen.threads,
            keep_ratio=chosen.keep_ratio,
            seed=chosen.seed,
        )
        length = longest_chunk(self.card, DEFAULT_CHUNK_LENGTH)
        self._chunker = SceneChunker(length, self.card.context)
        self._driver: Driver[Frame] | None = None
        self._convert: Converter | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._flushed = False

    def push(self, frame: Pixels) -> list[Pixels]:
        """Give the next frame.

        Args:
            frame: (H, W, 3) RGB, uint8 or uint16; all of one shape and type.

        Returns:
            The upscaled frames that are ready, of the output size and the same type.

        Raises:
            InputError: the frame is of another shape or type.
            UsageError: after `flush`.
        """
        if self._flushed:
            raise UsageError(
                "push came after flush.", "Make a new Upscaler for a new video."
            )
        self._check(frame)
        whole: Pixels = frame.copy(order="C")
        item = Frame(whole, self._count, 1)
        self._count += 1
        return self._run(self._chunker.push(item))

    def flush(self) -> list[Pixels]:
        """End of the frames; returns the upscaled frames still owed."""
        if self._flushed:
            return []
        self._flushed = True
        return self._run(self._chunker.finish())

    def __enter__(self) -> Upscaler:
        """The same object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the network."""
        self._flushed = True
        self._driver = None

    def _check(self, frame: Pixels) -> None:
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
            shape = getattr(frame, "shape", type(frame).__name__)
            raise InputError(
                f"A frame must be an array (H, W, 3), not {shape}.",
                "Convert it to RGB first.",
            )
        if frame.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"A frame must be uint8 or uint16, not {frame.dtype}.",
                "Scale it to the full range of one of them.",
            )
        shape = (*frame.shape, frame.dtype.itemsize)
        if not self._shape:
            self._shape = shape
            self._open(frame)
        elif shape != self._shape:
            raise InputError(
                f"Frame {self._count} is {frame.shape} {frame.dtype}, the first was "
                f"{self._shape[:3]}.",
                "Make a new Upscaler where the size changes.",
            )

    def _open(self, frame: Pixels) -> None:
        height, width = frame.shape[:2]
        card, options = self.card, self._options
        budget = options.memory or available_memory() // 2
        tile = choose_tile(width, height, card, budget)
        grid = plan_tiles(
            width, height, tile.width, tile.height, card.overlap, card.multiple
        )
        target = resolve_size(
            width,
            height,
            Fraction(1),
            card.scale,
            scale=options.scale,
            size=options.size,
            height_only=options.height,
        )
        self._driver = Driver(
            sessions(self._runtime, grid), frame_to_float, lookahead=card.lookahead
        )
        self._convert = Converter(
            (target.height, target.width), deep=frame.dtype == np.uint16, alpha=False
        )

    def _run(self, events: list[Event[Frame]]) -> list[Pixels]:
        if self._driver is None or self._convert is None:
            return []
        return [
            self._convert(item).pixels
            for item in self._driver.run(events)
            if isinstance(item, Output)
        ]


Upscaler.__doc__ = insert_docs(Upscaler.__doc__, StreamOptions)
