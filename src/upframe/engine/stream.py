"""``upframe.Upscaler``: frames in, frames out, for programs with their own frames."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType

import numpy as np

from upframe.engine.convert import Converter, frame_to_float
from upframe.engine.driver import Driver, Output, SceneChunker
from upframe.engine.models import longest_chunk, resolve_model
from upframe.errors import InputError, UsageError
from upframe.media.colour import Pixels
from upframe.media.frames import Frame
from upframe.planning.chunks import Event
from upframe.planning.memory import choose_tile, parse_size
from upframe.planning.plan import DEFAULT_CHUNK_LENGTH
from upframe.planning.sizes import resolve_size
from upframe.planning.tiles import plan_tiles
from upframe.runtimes.devices import available_memory
from upframe.runtimes.make import open_runtime
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
        preset: ``fast``, ``balanced``, ``best`` or ``restore``.
        model: name of a model or a weight file, instead of a preset.
        scale: any factor; the model's own when no size is asked.
        size: exact output (width, height) in pixels.
        height: output height in pixels; the width follows.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        runtime: ``auto``, ``onnx`` or ``torch``.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``; auto takes int8
            on the CPU for models that lose less than 0.05 dB by it.
        threads: threads of the network; all cores when None.
        keep_ratio: how much of a frame masked models compute at most, 0 to 1; what they
            were taught when None.
        seed: of the noise of diffusion models; 0 when None.
        memory: bytes, or text such as ``"2GiB"``; half of what is free when None.

    Raises:
        UpframeError: the model cannot be loaded.
    """

    def __init__(
        self,
        preset: str = "balanced",
        model: str | None = None,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        height: int | None = None,
        device: str = "auto",
        runtime: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        keep_ratio: float | None = None,
        seed: int | None = None,
        memory: int | str | None = None,
    ) -> None:
        chosen = resolve_model(preset, model)
        self.card = chosen.card
        self._budget = available_memory() // 2 if memory is None else parse_size(memory)
        self._runtime = open_runtime(
            chosen.card,
            chosen.files,
            runtime=runtime,
            precision=precision,
            device=device,
            threads=threads,
            keep_ratio=keep_ratio,
            seed=seed,
        )
        length = longest_chunk(chosen.card, DEFAULT_CHUNK_LENGTH)
        self._chunker = SceneChunker(length, chosen.card.context)
        self._wish = (scale, size, height)
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
        card, runtime = self.card, self._runtime
        tile = choose_tile(width, height, card, self._budget)
        grid = plan_tiles(
            width, height, tile.width, tile.height, card.overlap, card.multiple
        )
        scale, size, wished = self._wish
        target = resolve_size(
            width,
            height,
            Fraction(1),
            card.scale,
            scale=scale,
            size=size,
            height_only=wished,
        )
        self._driver = Driver(
            sessions(runtime, grid), frame_to_float, lookahead=card.lookahead
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
