"""PyTorch with diffusion systems, frame by frame, in float32.

Each system has a session of its own that keeps memory bounded; here they meet the
engine. Noise depends on the seed and the number of the frame, so a session is told
where it begins, and what it needs to know of the frames before.

Needs the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from upframe.planning.tiles import TileGrid
from upframe.runtimes.base import FloatFrame, Session, State
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.padding import is_finite, not_finite
from upframe.runtimes.sessions import SessionBase
from upframe.runtimes.torch import place, protected
from upframe.weights.card import ModelCard

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from upframe.systems.liftvsr.model import LiftVSR
    from upframe.systems.oasis.model import OASIS
    from upframe.systems.patchscaler.model import PatchScaler
    from upframe.systems.ultravsr.model import UltraVSR

_Value = TypeVar("_Value")


class DiffusionRuntime(LoadedModel):
    """One of the systems of `SESSIONS`.

    Args:
        card: the card of the model.
        network: moved to the device.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads, for all of torch; None for one per physical core.
        keep_ratio: for PatchScaler: steps to spend, as a share of the most.
        seed: of the noise, 0 to 2**64 - 1.
        precision: that of the network, which is not changed.

    Raises:
        MissingExtraError: torch is not installed.
        DeviceUnavailableError: the device does not exist.
    """

    name = "torch"

    def __init__(
        self,
        card: ModelCard,
        network: torch.nn.Module,
        *,
        device: str = "cpu",
        threads: int | None = None,
        keep_ratio: float | None = None,
        seed: int = 0,
        precision: str = "fp32",
    ) -> None:
        super().__init__(card, place(device, threads), precision)
        self.network: Any = network.to(self.device).eval()
        self.keep_ratio = keep_ratio
        self.seed = seed

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return SESSIONS[self.card.system](self)

    def tiled_session(self, grid: TileGrid) -> Session:
        """The same, for frames in tiles of ``grid``, in input pixels: UltraVSR."""
        return _UltraVSRSession(self, grid)

    def run(self, frame: FloatFrame, work: Callable[[], _Value]) -> _Value:
        """Do some work without gradients, its errors told in our words.

        Raises:
            RuntimeFailure: it failed.
        """
        with protected(self.card, frame, self.device):
            return work()

    def tensor(self, frame: FloatFrame) -> Tensor:
        """(h, w, 3) to (1, 3, h, w) on the device."""
        import torch

        planes = np.ascontiguousarray(frame.transpose(2, 0, 1)[None])
        return torch.from_numpy(planes).to(self.device)

    def pictures(self, finished: list[Tensor]) -> list[FloatFrame]:
        """(3, H, W) around [0, 1] to (H, W, 3) in [0, 1].

        Raises:
            RuntimeFailure: there are values that are no numbers.
        """
        made = []
        for picture in finished:
            planes = picture.float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
            if not is_finite(planes):
                raise not_finite(self.card, self.name, self.precision)
            made.append(np.ascontiguousarray(planes))
        return made


class _Session(SessionBase):
    """What the sessions of all systems share: where they begin."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__()
        self._runtime = runtime
        self._first = 0
        self._given: State = {}
        self._frame: FloatFrame | None = None
        """The last frame, for messages."""

    def begin(self, first: int, state: State) -> None:
        """Tell the number of the first frame, and what the chunk before left."""
        self._first, self._given = first, state

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Give the next frame (h, w, 3); returns outputs (4h, 4w, 3), maybe none.

        Raises:
            RuntimeFailure: the network failed or gave NaN.
        """
        runtime, self._frame = self._runtime, frame
        done = runtime.run(frame, lambda: self._push(runtime.tensor(frame)))
        return runtime.pictures(done)

    def flush(self) -> list[FloatFrame]:
        """End of the frames; returns the outputs that are still owed."""
        if self._frame is None:
            return []
        return self._runtime.pictures(self._runtime.run(self._frame, self._flush))

    def state(self) -> State:
        """What the next chunk of the scene needs to know; after the flush."""
        return {}

    def _push(self, frame: Tensor) -> list[Tensor]:
        """(1, 3, h, w) to finished pictures (3, H, W)."""
        raise NotImplementedError

    def _flush(self) -> list[Tensor]:
        return []


class _UltraVSRSession(_Session):
    """Streams; how clean the scene is was estimated once, at its beginning."""

    def __init__(self, runtime: DiffusionRuntime, grid: TileGrid | None = None) -> None:
        super().__init__(runtime)
        self._grid = grid
        self._stream: Any = None

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._stream is None:
            self._stream = self._open()
        finished: list[Tensor] = self._stream.push(frame)
        return finished

    def _flush(self) -> list[Tensor]:
        finished: list[Tensor] = self._stream.flush()
        return finished

    def state(self) -> State:
        """``factor``, how clean the scene is."""
        if self._stream is None or self._stream.factor is None:
            return self._given
        return {"factor": np.array(self._stream.factor, np.float32)}

    def _open(self) -> Any:
        from upframe.systems.ultravsr.stream import Options
        from upframe.systems.ultravsr.stream import Session as Stream

        model: UltraVSR = self._runtime.network
        known, grid = self._given.get("factor"), self._grid
        cut: dict[str, Any] = {}
        if grid is not None:
            # the plan counts input pixels, the system latents
            pixels = model.factor // model.scale
            overlap = grid.overlap // pixels
            height, width = (
                max(-(-side // pixels), 2 * overlap)
                for side in (grid.tile_height, grid.tile_width)
            )
            cut = {"tile": (height, width), "overlap": overlap}
        options = Options(
            factor=None if known is None else float(known),
            seed=self._runtime.seed,
            first_index=self._first,
            **cut,
        )
        return Stream(model, options)


class _OASISSession(_Session):
    """Overlapping chunks of a few frames.

    The system takes frames when it wants them. It is asked for a picture only when so
    many frames wait that it cannot run out of them.
    """

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        from upframe.systems.oasis.model import Chunking

        model: OASIS = runtime.network
        self._cut = Chunking(**runtime.card.config.get("chunking", {}))
        self._most = 1 + self._cut.length * model.decoder.temporal
        self._waiting: deque[Tensor] = deque()
        self._pictures: Iterator[Tensor] | None = None

    def _push(self, frame: Tensor) -> list[Tensor]:
        self._waiting.append(frame)
        finished = []
        while len(self._waiting) >= self._most:
            finished.append(next(self._made())[0])
        return finished

    def _flush(self) -> list[Tensor]:
        finished = [picture[0] for picture in self._made()]
        self._pictures = None
        return finished

    def _made(self) -> Iterator[Tensor]:
        if self._pictures is None:
            model: OASIS = self._runtime.network
            self._pictures = model.stream(
                self._frames(),
                chunking=self._cut,
                first=self._first // model.decoder.temporal,
                seed=self._runtime.seed,
            )
        return self._pictures

    def _frames(self) -> Iterator[Tensor]:
        while self._waiting:
            yield self._waiting.popleft()


class _LiftVSRSession(_Session):
    """Segments in order; the cache goes from chunk to chunk."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        self._segments: Any = None
        self._left: State = {}

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._segments is None:
            self._segments = self._open()
        finished: list[Tensor] = self._segments.push(frame)
        return finished

    def _flush(self) -> list[Tensor]:
        state: Mapping[str, Tensor] = self._segments.state()
        # frames are left over only where the scene ends
        done = len(state["waiting"]) == 0
        self._left = {k: v.cpu().numpy() for k, v in state.items()} if done else {}
        finished: list[Tensor] = self._segments.flush()
        return finished

    def state(self) -> State:
        """The session's own: the cache, and the number of the next frame."""
        return self._left

    def _open(self) -> Any:
        import torch

        from upframe.systems.liftvsr.stream import Options, Session

        model: LiftVSR = self._runtime.network
        session = Session(model, Options(self._runtime.seed, self._first))
        if self._given:
            session.load_state(
                {name: torch.from_numpy(v.copy()) for name, v in self._given.items()}
            )
        return session


class _PatchScalerSession(_Session):
    """Frame by frame; groups of patches are held."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        self._video: Any = None
        self._groups: Tensor | None = None

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._video is None:
            self._video = self._open()
        restored = self._video.push(frame[0])
        self._groups = restored.groups
        return [restored.image]

    def state(self) -> State:
        """``groups`` of the last frame."""
        if self._groups is None:
            return self._given
        return {"groups": self._groups.cpu().numpy()}

    def _open(self) -> Any:
        import torch

        from upframe.systems.patchscaler.model import Options, Session

        model: PatchScaler = self._runtime.network
        options = Options(
            seed=self._runtime.seed,
            first_index=self._first,
            keep_ratio=self._runtime.keep_ratio,
        )
        session = Session(model, options)
        if self._given:
            session.hold(torch.from_numpy(self._given["groups"].copy()))
        return session


SESSIONS: Mapping[str, Callable[[DiffusionRuntime], Session]] = {
    "ultravsr": _UltraVSRSession,
    "oasis": _OASISSession,
    "liftvsr": _LiftVSRSession,
    "patchscaler": _PatchScalerSession,
}
"""By the system on a card."""
